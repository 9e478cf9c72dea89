import { describe } from 'vitest';
import { clientCases } from './cluster-cases.testing.ts';

/**
 * Our client against a running cluster, a real one or ours: `CEPH_TEST_CONF=/dir/ceph.conf`, with `mon host` and `keyring` of client.admin in it and
 * a pool `rbd`. Skipped without. `test/e2e/engine/client.test.ts` makes clusters of both kinds for it.
 */
const conf = process.env.CEPH_TEST_CONF;

describe.skipIf(conf === undefined)('RADOS client and a running cluster', () => {
  clientCases(() => ({ conf: conf! }), { kills: false });
});
