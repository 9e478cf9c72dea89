/** Below it administrators look after encryption at rest: GET `status`; PUT `config` with `{"action": …}`, which answers the status after it. */
export const encryptionPath = '/v1-appliance/encrypt/';

export const encryptionActions = ['enable', 'disable', 'rotate-keys', 'reencrypt'] as const;
export type EncryptionAction = (typeof encryptionActions)[number];
