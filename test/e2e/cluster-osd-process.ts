/** An OSD of a `CephCluster` in a process of its own, to be killed: `bun cluster-osd-process.ts <JSON of ClusterOsd>`. Says so when it has started. */
import { type ClusterOsd, startClusterOsd } from './cluster-osd.ts';

await startClusterOsd(JSON.parse(process.argv[2]!) as ClusterOsd);
process.stdout.write('started\n');
