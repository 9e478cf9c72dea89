/** The release whose protocols and command outputs ours are. */
export const cephRelease = 'pacific';
export const cephVersionShort = '16.2.15';
/** What `ceph versions` shows of our daemons. */
export const cephVersion = `ceph version ${cephVersionShort} (appliance) ${cephRelease} (stable)`;
