/** What is known of a server of the store, as `appliance status` and `appliance store members` see it. */
interface Server {
  readonly role: 'leader' | 'voter' | 'learner';
  readonly state: 'runs' | 'not started' | 'unreachable';
}

/** That nobody leads, why, and what can be done: two sentences. */
export function noLeaderText(servers: readonly Server[]): string {
  const voters = servers.filter(({ role }) => role !== 'learner');
  const here = voters.filter(({ state }) => state === 'runs').length;
  const need = (voters.length >> 1) + 1;
  if (here >= need)
    return `The store has no leader: ${here} of ${voters.length} servers that may vote run, and elect one as soon as they reach one another. Nothing can be written until then.`;
  return `The store has no leader and takes no writes: ${here} of ${voters.length} servers that may vote ${here === 1 ? 'runs' : 'run'}, ${need} must. Start the others; when they are lost for good, \`appliance down\`, \`appliance store cluster-reset\` and \`appliance up\` make one that is left the only one.`;
}
