import { mgrCommandDescriptions } from '../../mgr/commands.ts';
import { absentCommands, absentTellCommands } from './absent.ts';
import { authCommands } from './auth.ts';
import { clusterCommands } from './cluster.ts';
import { configCommands, configKeyCommands } from './config.ts';
import { crushCommands } from './crush.ts';
import { crushClassCommands } from './crush-classes.ts';
import { crushRuleCommands } from './crush-rules.ts';
import { crushTuningCommands } from './crush-tuning.ts';
import type { CommandContext, MonCommands } from './dispatch.ts';
import { erasureCommands } from './erasure.ts';
import { fsCommands } from './fs.ts';
import { logCommands } from './log.ts';
import { mgrCommands } from './mgr.ts';
import { monMapCommands } from './mon.ts';
import { monElectionCommands } from './mon-elections.ts';
import { obsoleteCommands } from './obsolete.ts';
import { osdCommands } from './osd.ts';
import { osdAdminCommands } from './osd-admin.ts';
import { osdFlagCommands } from './osd-flags.ts';
import { osdIdCommands } from './osd-ids.ts';
import { osdPlacingCommands } from './osd-placing.ts';
import { poolCommands } from './pool.ts';
import { daemonCommands } from './daemon.ts';
import { CommandTable } from './table.ts';
import { tellCommands } from './tell.ts';

/** Every command of the mon, one family a file, and the descriptions of those that the mgr executes. */
export function monCommands(): MonCommands {
  return new CommandTable<CommandContext>()
    .add(clusterCommands)
    .add(monMapCommands)
    .add(monElectionCommands)
    .add(osdCommands)
    .add(osdFlagCommands)
    .add(osdAdminCommands)
    .add(osdIdCommands)
    .add(osdPlacingCommands)
    .add(poolCommands)
    .add(crushCommands)
    .add(crushRuleCommands)
    .add(crushClassCommands)
    .add(crushTuningCommands)
    .add(erasureCommands)
    .add(authCommands)
    .add(configCommands)
    .add(configKeyCommands)
    .add(mgrCommands)
    .add(tellCommands)
    .add(daemonCommands)
    .add(fsCommands)
    .add(logCommands)
    .add(obsoleteCommands)
    .add(absentCommands)
    .add(absentTellCommands)
    .describe(mgrCommandDescriptions);
}
