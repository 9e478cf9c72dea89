import { utf8, utf8Text } from '../../../base/bytes.ts';
import { addrHostPort, entityNumText } from '../../wire/types.ts';
import {
  blindWriteMethod,
  type ClassContext,
  ClassFailure,
  type ClassMethods,
  type ClassOutput,
  readMethod,
  writeMethod,
} from './context.ts';
import { EEXIST, EINVAL, EIO } from './errno.ts';

const maxInput = 100;
const maxRead = 1100;

function greeting(input: Uint8Array): Uint8Array {
  if (input.length > maxInput) throw new ClassFailure(EINVAL);
  return utf8(`Hello, ${input.length === 0 ? 'world' : utf8Text(input)}!`);
}

/** `client.4123 127.0.0.1:0/4242`, as upstream prints an entity with its address. */
function origin(ctx: ClassContext): Uint8Array {
  return utf8(`${entityNumText(ctx.client)} ${addrHostPort(ctx.clientAddr)}/${ctx.clientAddr.nonce}`);
}

function recordHello(ctx: ClassContext, input: Uint8Array): void {
  const text = greeting(input);
  if (ctx.stat() !== undefined) throw new ClassFailure(EEXIST);
  ctx.writeFull(text);
  ctx.setXattr('said_by', origin(ctx));
}

function writeReturnData(ctx: ClassContext, input: Uint8Array): ClassOutput {
  ctx.setXattr('foo', utf8('bar'));
  if (input.length > 0) return { rval: EINVAL, out: utf8('too much input data!') };
  return { rval: 42, out: utf8('you might see this') };
}

async function turnItTo11(ctx: ClassContext, input: Uint8Array): Promise<void> {
  if (input.length !== 0) throw new ClassFailure(EINVAL);
  const loud = (await ctx.read(0, maxRead)).map((b) => (b >= 0x61 && b <= 0x7a ? b - 0x20 : b));
  ctx.writeFull(loud);
  ctx.setXattr('amplified_by', origin(ctx));
}

const tooLong = utf8('you should not see this because it is toooooo long. '.repeat(10));

/** Class `hello` (`src/cls/hello`): examples that librados' tests call. */
export const helloMethods: ClassMethods = {
  say_hello: readMethod((_, input) => greeting(input)),
  record_hello: blindWriteMethod(recordHello),
  write_return_data: blindWriteMethod(writeReturnData),
  writes_dont_return_data: blindWriteMethod(writeReturnData),
  write_too_much_return_data: blindWriteMethod((ctx) => {
    ctx.setXattr('foo', utf8('bar'));
    return { rval: 42, out: tooLong };
  }),
  replay: readMethod((ctx) => ctx.read(0, maxRead)),
  turn_it_to_11: writeMethod(turnItTo11),
  // Upstream's counter-examples: they do what their flags forbid, which is EIO.
  bad_reader: blindWriteMethod(() => EIO),
  bad_writer: readMethod(() => EIO),
};
