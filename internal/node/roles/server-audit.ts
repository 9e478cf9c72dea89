import { readFileSync } from 'node:fs';
import { AppError, errorText } from '../../base/errors.ts';
import { AuditLog } from '../../kube/apiserver/audit/log-system.ts';
import { type AuditPolicy, parsePolicy, standardPolicy } from '../../kube/apiserver/audit/policy.ts';
import { allSinks } from '../../kube/apiserver/audit/sinks.ts';
import type { AuditSink } from '../../kube/apiserver/audit/trail.ts';
import { AuditWebhook } from '../../kube/apiserver/audit/webhook-client.ts';
import { parseWebhookConfig } from '../../kube/apiserver/audit/webhook-config.ts';
import type { RoleContext } from '../role.ts';

export interface Audit {
  readonly policy: AuditPolicy;
  readonly sink: AuditSink;
  /** Writes and sends what waits. */
  close(): Promise<void>;
}

/**
 * What the configuration wants recorded, and where to; undefined when it wants nothing. Throws AppError AUDIT_POLICY for a policy that makes no sense, and AUDIT for
 * a file or directory that cannot be used.
 */
export async function startAudit({ config, clock, log }: RoleContext): Promise<Audit | undefined> {
  const { enabled, policyFile, webhookConfigFile, logDir, maxAgeDays, maxBackups, maxSizeMiB } = config.audit;
  const own = log.with({ component: 'audit' });
  const sinks: (AuditSink & { close(): Promise<void> })[] = [];
  let text = standardPolicy;
  try {
    if (policyFile !== undefined) text = readFileSync(policyFile, 'utf8');
    if (enabled) {
      const file = `${logDir}/audit.log`;
      const sink = new AuditLog({ file, maxAgeDays, maxBackups, maxBytes: maxSizeMiB * 2 ** 20, clock, log: own });
      await sink.start();
      sinks.push(sink);
    }
    if (webhookConfigFile !== undefined) {
      const read = (path: string): string => readFileSync(path, 'utf8');
      sinks.push(new AuditWebhook(parseWebhookConfig(read(webhookConfigFile), read), clock, own));
    }
  } catch (error) {
    throw new AppError('AUDIT', `the audit log cannot begin: ${errorText(error)}`, {
      hint: 'audit.policyFile and audit.webhookConfigFile have to be readable for everybody, audit.logDir a directory that is nobody else’s',
      cause: error,
    });
  }
  if (sinks.length === 0) return undefined;
  return {
    policy: parsePolicy(text),
    sink: allSinks(sinks),
    close: async () => {
      await Promise.all(sinks.map((sink) => sink.close()));
    },
  };
}
