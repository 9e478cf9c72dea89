import type { Environment } from '@marcbachmann/cel-js';

/** Makes `name.function(…)` possible: gives the type that such functions are registered as methods of. */
export function registerNamespace(environment: Environment, name: string): string {
  const type = `kubernetes.namespace.${name}`;
  const Namespace = class {};
  environment.registerType(type, Namespace as never);
  environment.registerConstant(name, type, new Namespace() as never);
  return type;
}
