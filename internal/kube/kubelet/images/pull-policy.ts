export type PullPolicy = 'Always' | 'IfNotPresent' | 'Never';

/** The policy of a container that names none: Always for the tag `latest` or no tag (core/v1 defaults). */
export function defaultPullPolicy(image: string): PullPolicy {
  if (image.includes('@')) return 'IfNotPresent';
  const name = image.slice(image.lastIndexOf('/') + 1);
  const tag = name.includes(':') ? name.slice(name.indexOf(':') + 1) : '';
  return tag === '' || tag === 'latest' ? 'Always' : 'IfNotPresent';
}

/** What to do about an image that is there or not. */
export function pullDecision(policy: PullPolicy, present: boolean): 'use' | 'pull' | 'refuse' {
  if (policy === 'Always') return 'pull';
  if (present) return 'use';
  return policy === 'Never' ? 'refuse' : 'pull';
}
