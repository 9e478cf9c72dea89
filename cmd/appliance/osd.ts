import { type CommandModule, type OutputFormat, withExamples, withOutput } from './command.ts';
import { fsck, repair } from './osd-check.ts';
import { adopt, prepare, wipe } from './osd-disk.ts';
import { listDisks, listObjects, listPgs } from './osd-list.ts';
import { exportTo, importFrom } from './osd-move.ts';
import { diskArgument, withOffline } from './osd-target.ts';

/** `appliance osd`: the disks of OSDs, while the OSD on them does not run. */

interface Output {
  readonly output: OutputFormat;
}

export const command: CommandModule = {
  define(command) {
    withExamples(command, [
      ['appliance osd list', 'the disks of this machine and what they hold'],
      ['appliance osd fsck osd.1', 'read everything on the disk of osd.1, which does not run'],
      ['appliance osd export --help', 'more of one of them'],
    ]);

    const list = command
      .command('list')
      .alias('ls')
      .argument('[disk]', `${diskArgument}: its PGs`)
      .argument('[pg]', 'a PG on it: its objects')
      .description('Show the disks of this machine, the PGs on one of them, or the objects of a PG.');
    withExamples(withOutput(list), [
      ['appliance osd list', 'which disk holds which OSD, which is blank, which is of another cluster'],
      ['appliance osd list /dev/sda', 'the PGs on it; its OSD must not run'],
      ['appliance osd list osd.1 2.1f', 'the objects of a PG'],
    ]).action((disk: string | undefined, pg: string | undefined, { output }: Output) => {
      if (disk === undefined) return listDisks(list, output);
      return withOffline(list, disk, (found) =>
        pg === undefined ? listPgs(found, output) : listObjects(found, pg, output),
      );
    });

    const preparing = command
      .command('prepare')
      .argument('<disk>', 'a blank disk, partition or file')
      .requiredOption('--id <number>', 'the id of the OSD that it is for')
      .option('--size <size>', 'make the file, of this size')
      .description(
        'Make a blank disk an OSD’s of this cluster: no other takes it from then on. What holds anything is refused.',
      );
    withExamples(withOutput(preparing), [
      ['appliance osd prepare /dev/sdb --id 3', 'then name it in storage.osd, and appliance reload'],
      ['appliance osd prepare /mnt/big/osd.img --id 4 --size 50Gi', 'a new file'],
    ]).action((disk: string, options: Output & { id: string; size?: string }) => prepare(preparing, disk, options));

    const adopting = command
      .command('adopt')
      .argument('<disk>', diskArgument)
      .option('--keyring <file>', 'the key of its OSD, from `ceph auth get osd.N -o FILE` on a server')
      .description(
        'Make a disk that holds an OSD of this cluster this node’s: of a node that died, or was installed again.',
      );
    withExamples(withOutput(adopting), [
      ['appliance osd adopt /dev/sdb', 'on the node with the mon, which runs: the key comes from there'],
      ['appliance osd adopt /dev/sdb --keyring osd.2.keyring', 'on any other node'],
    ]).action((disk: string, options: Output & { keyring?: string }) =>
      withOffline(adopting, disk, (found, config) => adopt(found, config, options)),
    );

    const wiping = command
      .command('wipe')
      .argument('<disk>', diskArgument)
      .option('-y, --yes', 'do it: everything on the disk is lost')
      .option('--foreign', 'also what is no OSD of this cluster')
      .description('Make a disk blank. Without --yes it only tells what would be lost.');
    withExamples(withOutput(wiping), [
      ['appliance osd wipe /dev/sdb', 'what it holds'],
      ['appliance osd wipe /dev/sdb --yes', 'it is blank afterwards, if it held an OSD of this cluster'],
      ['appliance osd wipe /dev/sdb --foreign --yes', 'whatever it held'],
    ]).action((disk: string, { yes, foreign, output }: Output & { yes?: true; foreign?: true }) =>
      wipe(wiping, disk, { yes: yes === true, foreign: foreign === true, output }),
    );

    const checking = command
      .command('fsck')
      .argument('<disk>', diskArgument)
      .description(
        'Read everything on the disk of an OSD that does not run, and tell what is wrong. Nothing is changed.',
      );
    withExamples(withOutput(checking), [
      ['appliance osd fsck osd.1', 'exit code 0: nothing is wrong, 1: something is'],
      ['appliance osd fsck /dev/sda -o json', 'every fault, for programs'],
    ]).action((disk: string, { output }: Output) => withOffline(checking, disk, (found) => fsck(found, output)));

    const mending = command
      .command('repair')
      .argument('<disk>', diskArgument)
      .option('-y, --yes', 'also take out what cannot be read any more')
      .description('Check as fsck does, and mend what can be mended without inventing data.');
    withExamples(withOutput(mending), [
      ['appliance osd repair osd.1', 'damaged objects are fetched from other copies when it starts'],
      ['appliance osd repair osd.1 --yes', 'entries of the index that cannot be read go, too'],
    ]).action((disk: string, { yes, output }: Output & { yes?: true }) =>
      withOffline(mending, disk, (found) => repair(found, output, yes === true)),
    );

    const exporting = command
      .command('export')
      .argument('<disk>', diskArgument)
      .argument('<pg>', 'such as 2.1f')
      .argument('<file>', 'a new file')
      .option('--skip-damaged', 'leave out objects that cannot be read as they were written')
      .description('Copy a PG with its log and history from the disk of an OSD that does not run into a file.');
    withExamples(withOutput(exporting), [
      ['appliance osd export osd.1 2.1f /mnt/usb/2.1f.pg', 'then `appliance osd import` on another machine'],
    ]).action((disk: string, pg: string, file: string, { output, skipDamaged }: Output & { skipDamaged?: true }) =>
      withOffline(exporting, disk, (found) => exportTo(found, pg, file, { output, skipDamaged: skipDamaged === true })),
    );

    const importing = command
      .command('import')
      .argument('<disk>', diskArgument)
      .argument('<file>', 'of `appliance osd export`')
      .option('--replace', 'put it in the place of a copy that is there and is not newer; needs --yes')
      .option('-y, --yes', 'with --replace: the copy that is there is lost')
      .description(
        'Bring a PG from a file onto the disk of an OSD that does not run, so that the cluster finds it there.',
      );
    withExamples(withOutput(importing), [['appliance osd import osd.2 /mnt/usb/2.1f.pg', 'then start the OSD']]).action(
      (disk: string, file: string, { output, replace, yes }: Output & { replace?: true; yes?: true }) =>
        withOffline(importing, disk, (found) =>
          importFrom(found, file, { output, replace: replace === true && yes === true }),
        ),
    );
  },
};
