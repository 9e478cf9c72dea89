import { fromJSON, type PackageDefinition } from '@grpc/proto-loader';
import protobuf from 'protobufjs';
import containerdText from './containerd.proto' with { type: 'text' };
import criText from './cri.proto' with { type: 'text' };
import csiText from './csi.proto' with { type: 'text' };
import healthText from './health.proto' with { type: 'text' };

/**
 * A package definition from the text of a .proto file. Numbers of 64 bits become JavaScript numbers (times in nanoseconds lose about a
 * microsecond), enum values become their names, absent messages are null, absent scalars have their default.
 */
export function loadProto(text: string): PackageDefinition {
  const root = protobuf.parse(text, { keepCase: false }).root;
  root.resolveAll();
  return fromJSON(root.toJSON(), {
    keepCase: false,
    longs: Number,
    enums: String,
    defaults: true,
    arrays: true,
    objects: true,
    oneofs: true,
  });
}

function once(text: string): () => PackageDefinition {
  let loaded: PackageDefinition | undefined;
  return () => {
    loaded ??= loadProto(text);
    return loaded;
  };
}

/** `runtime.v1.RuntimeService` and `runtime.v1.ImageService`. */
export const criDefinition = once(criText);
/** `csi.v1.Identity`, `csi.v1.Controller` and `csi.v1.Node`; shared by the node agent's client and our own drivers' servers. */
export const csiDefinition = once(csiText);
/** `containerd.services.events.v1.Events`. */
export const containerdDefinition = once(containerdText);
/** `grpc.health.v1.Health`. */
export const healthDefinition = once(healthText);
