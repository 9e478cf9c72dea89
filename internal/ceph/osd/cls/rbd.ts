import type { ClassMethods } from './context.ts';
import { rbdDataMethods } from './rbd-data.ts';
import { rbdDirectoryMethods } from './rbd-directory.ts';
import { rbdGroupMethods } from './rbd-group.ts';
import { rbdHeaderMethods } from './rbd-header.ts';
import { rbdMigrationMethods } from './rbd-migration.ts';
import { rbdMirrorMethods } from './rbd-mirror.ts';
import { rbdObjectMapMethods } from './rbd-object-map.ts';
import { rbdOldFormatMethods } from './rbd-old-format.ts';
import { rbdParentMethods } from './rbd-parent.ts';
import { rbdSnapshotMethods } from './rbd-snapshot.ts';

/**
 * Class `rbd` (`src/cls/rbd/cls_rbd.cc`): what block device images keep in RADOS. Stored bytes are upstream's.
 */
export const rbdMethods: ClassMethods = {
  ...rbdHeaderMethods,
  ...rbdSnapshotMethods,
  ...rbdParentMethods,
  ...rbdDirectoryMethods,
  ...rbdObjectMapMethods,
  ...rbdDataMethods,
  ...rbdGroupMethods,
  ...rbdMirrorMethods,
  ...rbdMigrationMethods,
  ...rbdOldFormatMethods,
};
