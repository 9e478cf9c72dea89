/** Parameters of requests, by the names that operations use. */
export interface ParameterInfo {
  name: string;
  in: 'query' | 'path';
  type: 'string' | 'integer' | 'boolean';
  description: string;
}

const query = (name: string, type: ParameterInfo['type'], description: string): ParameterInfo => ({
  name,
  in: 'query',
  type,
  description,
});
const path = (name: string, description: string): ParameterInfo => ({ name, in: 'path', type: 'string', description });

export const parameterTable: Readonly<Record<string, ParameterInfo>> = Object.fromEntries(
  [
    path('name', 'name of the object'),
    path('namespace', 'namespace of the object'),
    query('pretty', 'string', "If 'true', the answer is indented."),
    query(
      'allowWatchBookmarks',
      'boolean',
      'Also send BOOKMARK events, which carry nothing but a resourceVersion to resume a watch from.',
    ),
    query(
      'continue',
      'string',
      'Token of the previous page of a list. An expired one is answered 410 with a new token.',
    ),
    query('fieldSelector', 'string', 'Only objects whose fields match.'),
    query('labelSelector', 'string', 'Only objects whose labels match.'),
    query('limit', 'integer', 'At most this many objects; the list then has a continue token for the rest.'),
    query('resourceVersion', 'string', 'How fresh the answer must be; for a watch, where it begins.'),
    query('resourceVersionMatch', 'string', 'How resourceVersion is meant: Exact or NotOlderThan.'),
    query(
      'sendInitialEvents',
      'boolean',
      'Begin a watch with all present objects and a bookmark that marks their end.',
    ),
    query('timeoutSeconds', 'integer', 'The request ends after this time, whatever happens.'),
    query('watch', 'boolean', 'Stream changes instead of answering a list.'),
    query('dryRun', 'string', "'All': do everything but store it."),
    query(
      'fieldManager',
      'string',
      'Name of who makes the change, for metadata.managedFields. Required for apply patches.',
    ),
    query(
      'fieldValidation',
      'string',
      'What happens to unknown and duplicate fields: Ignore drops them, Warn (the default) also sends a warning, Strict refuses the request with 400.',
    ),
    query('force', 'boolean', 'Take fields over that other managers own. Only for apply patches.'),
    query('gracePeriodSeconds', 'integer', 'Seconds until the object is gone; 0 is at once.'),
    query('orphanDependents', 'boolean', 'Deprecated, use propagationPolicy.'),
    query('propagationPolicy', 'string', 'What happens to dependents: Orphan, Background or Foreground.'),
    query('container', 'string', 'The container; the only one if there is just one.'),
    query('command', 'string', 'The command and its arguments, one a parameter; no shell is used.'),
    query('stdin', 'boolean', 'Connect standard input.'),
    query('stdout', 'boolean', 'Connect standard output.'),
    query('stderr', 'boolean', 'Connect standard error.'),
    query('tty', 'boolean', 'Allocate a terminal.'),
    query('ports', 'integer', 'Ports to forward.'),
    query('follow', 'boolean', 'Go on with what is written from now on.'),
    query('insecureSkipTLSVerifyBackend', 'boolean', 'Do not verify the certificate of the node.'),
    query('limitBytes', 'integer', 'At most this many bytes.'),
    query('previous', 'boolean', 'The log of the instance before the last restart.'),
    query('sinceSeconds', 'integer', 'Only lines of the last seconds.'),
    query('stream', 'string', "Which stream: 'All', 'Stdout' or 'Stderr'."),
    query('tailLines', 'integer', 'Only this many last lines.'),
    query('timestamps', 'boolean', 'Put the time before each line.'),
  ].map((parameter) => [parameter.name, parameter]),
);
