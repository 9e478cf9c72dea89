/** Service-account tokens: JWTs bound to an audience and, for pods, to the pod (KEP-1205). Signed with ES256. */
import {
  calculateJwkThumbprint,
  decodeProtectedHeader,
  exportJWK,
  importPKCS8,
  importSPKI,
  type JWK,
  type JWTPayload,
  jwtVerify,
  SignJWT,
} from 'jose';
import { errorText } from '../../base/errors.ts';
import { type Random, uuid } from '../../base/random.ts';
import { serviceAccountUser, type UserInfo } from './identity.ts';

export interface BoundReference {
  readonly kind: 'Pod' | 'Secret' | 'Node';
  readonly name: string;
  readonly uid: string;
}

export interface TokenClaims {
  readonly namespace: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  readonly pod?: { readonly name: string; readonly uid: string };
  readonly secret?: { readonly name: string; readonly uid: string };
  readonly node?: { readonly name: string; readonly uid: string };
}

/** What a token is bound to. */
export interface TokenSubject {
  readonly uid: string;
  /** metadata.deletionTimestamp in milliseconds since the epoch: when the grace period of its deletion ends. Finalizers may hold it longer. */
  readonly deletionMs: number | undefined;
}

/** What is stored of that which tokens are bound to; undefined for what is gone. */
export interface TokenSubjects {
  serviceAccount(namespace: string, name: string): Promise<TokenSubject | undefined>;
  pod(namespace: string, name: string): Promise<TokenSubject | undefined>;
  secret(namespace: string, name: string): Promise<TokenSubject | undefined>;
  node(name: string): Promise<TokenSubject | undefined>;
  /** The token in a Secret that is not being deleted. */
  secretToken(namespace: string, name: string): Promise<string | undefined>;
}

export type TokenResult =
  | { readonly user: UserInfo; readonly audiences: string[] }
  /** Not one of our tokens, or not valid any more. */
  | { readonly error: string };

interface KubernetesClaim {
  namespace?: string;
  serviceaccount?: { name?: string; uid?: string };
  pod?: { name?: string; uid?: string };
  secret?: { name?: string; uid?: string };
  node?: { name?: string; uid?: string };
}

const verifiedMax = 1000;
/** How long a verified signature is trusted without a new look at its subjects. */
const trustMs = 10_000;
/** How long after its deletionTimestamp a subject that is still stored counts as living. */
const deletionLeewayMs = 60_000;

/** Issues and verifies. The key is made once at cluster creation; several public keys may be valid while one is replaced. */
export class ServiceAccountTokens {
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly #signingKey: CryptoKey;
  readonly #keyId: string;
  readonly #publicKeys: ReadonlyMap<string, { key: CryptoKey; jwk: JWK }>;
  readonly #subjects: TokenSubjects;
  readonly #now: () => number;
  readonly #random: Random;
  readonly #verified = new Map<string, { result: TokenResult; until: number }>();

  private constructor(
    options: TokenOptions,
    signingKey: CryptoKey,
    keyId: string,
    publicKeys: Map<string, { key: CryptoKey; jwk: JWK }>,
  ) {
    this.issuer = options.issuer;
    this.audiences = options.audiences;
    this.#subjects = options.subjects;
    this.#now = options.now;
    this.#random = options.random;
    this.#signingKey = signingKey;
    this.#keyId = keyId;
    this.#publicKeys = publicKeys;
  }

  static async create(options: TokenOptions): Promise<ServiceAccountTokens> {
    const signingKey = await importPKCS8(options.privateKey, 'ES256');
    const publicKeys = new Map<string, { key: CryptoKey; jwk: JWK }>();
    let keyId = '';
    for (const pem of options.publicKeys) {
      const key = await importSPKI(pem, 'ES256', { extractable: true });
      const jwk = await exportJWK(key);
      const id = await calculateJwkThumbprint(jwk, 'sha256');
      if (keyId === '') keyId = id;
      publicKeys.set(id, { key, jwk: { ...jwk, kid: id, use: 'sig', alg: 'ES256' } });
    }
    return new ServiceAccountTokens(options, signingKey, keyId, publicKeys);
  }

  /** The public keys as a JSON Web Key Set (RFC 7517). */
  jwks(): { keys: JWK[] } {
    return { keys: [...this.#publicKeys.values()].map(({ jwk }) => jwk) };
  }

  async issue(
    claims: TokenClaims,
    audiences: readonly string[],
    seconds: number,
  ): Promise<{ token: string; expires: number }> {
    const now = Math.floor(this.#now() / 1000);
    const kubernetes: KubernetesClaim = {
      namespace: claims.namespace,
      ...(claims.node === undefined ? {} : { node: claims.node }),
      ...(claims.pod === undefined ? {} : { pod: claims.pod }),
      ...(claims.secret === undefined ? {} : { secret: claims.secret }),
      serviceaccount: claims.serviceAccount,
    };
    const token = await new SignJWT({ 'kubernetes.io': kubernetes })
      .setProtectedHeader({ alg: 'ES256', kid: this.#keyId })
      .setAudience([...audiences])
      .setIssuer(this.issuer)
      .setSubject(`system:serviceaccount:${claims.namespace}:${claims.serviceAccount.name}`)
      .setJti(uuid(this.#random))
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(now + seconds)
      .sign(this.#signingKey);
    return { token, expires: (now + seconds) * 1000 };
  }

  /** Checks signature, time, audience (one of `audiences`) and that account and bound object still exist. */
  async verify(token: string, audiences: readonly string[] = this.audiences): Promise<TokenResult> {
    if (token.length > 16 * 1024) return { error: 'token is too long' };
    const cacheKey = JSON.stringify([audiences, token]);
    const now = this.#now();
    const known = this.#verified.get(cacheKey);
    if (known !== undefined && known.until > now) return known.result;
    const { result, expires } = await this.#check(token, audiences, now);
    if (this.#verified.size >= verifiedMax) this.#verified.clear();
    this.#verified.set(cacheKey, { result, until: Math.min(now + trustMs, expires) });
    return result;
  }

  /** A token of a Secret: it is good as long as it lies there and its account lives. The text is why it is not. */
  async #ofSecret(token: string, payload: JWTPayload, audiences: readonly string[]): Promise<TokenResult | string> {
    // Such tokens are for the API server alone.
    const common = this.audiences.filter((audience) => audiences.includes(audience));
    if (common.length === 0) return 'token of a secret is invalid for the target audiences';
    const of = (claim: string): string => String(payload[`${secretClaims}/${claim}`] ?? '');
    const [namespace, name, uid] = [of('namespace'), of('service-account.name'), of('service-account.uid')];
    const secret = of('secret.name');
    if (namespace === '' || name === '' || uid === '' || secret === '') return 'token has no service account';
    if ((await this.#subjects.secretToken(namespace, secret)) !== token)
      return `secret ${namespace}/${secret} does not have this token`;
    const account = await this.#subjects.serviceAccount(namespace, name);
    // A token without an end gets no leeway.
    if (account?.uid !== uid || account.deletionMs !== undefined)
      return `service account ${namespace}/${name} has been deleted`;
    return { user: serviceAccountUser(namespace, name, uid, {}), audiences: [...common] };
  }

  async #check(
    token: string,
    audiences: readonly string[],
    now: number,
  ): Promise<{ result: TokenResult; expires: number }> {
    const fail = (error: string): { result: TokenResult; expires: number } => ({
      result: { error },
      expires: now + trustMs,
    });
    let payload: JWTPayload;
    try {
      const { kid } = decodeProtectedHeader(token);
      const key = kid === undefined ? undefined : this.#publicKeys.get(kid);
      if (key === undefined) return fail('no public key for this token');
      ({ payload } = await jwtVerify(token, key.key, {
        issuer: [this.issuer, secretIssuer],
        algorithms: ['ES256'],
        currentDate: new Date(now),
        clockTolerance: 10,
      }));
    } catch (error) {
      return fail(`invalid bearer token: ${errorText(error)}`);
    }
    if (payload.iss === secretIssuer) {
      const found = await this.#ofSecret(token, payload, audiences);
      return typeof found === 'string' ? fail(found) : { result: found, expires: now + trustMs };
    }
    const have = typeof payload.aud === 'string' ? [payload.aud] : (payload.aud ?? []);
    const common = have.filter((audience) => audiences.includes(audience));
    if (common.length === 0)
      return fail(
        `token audiences ${JSON.stringify(have)} is invalid for the target audiences ${JSON.stringify(audiences)}`,
      );
    const claim = payload['kubernetes.io'] as KubernetesClaim | undefined;
    const { namespace, serviceaccount } = claim ?? {};
    if (!namespace || !serviceaccount?.name || !serviceaccount.uid) return fail('token has no service account');
    const lives = (subject: TokenSubject | undefined, uid: string | undefined): boolean =>
      subject !== undefined &&
      subject.uid === uid &&
      (subject.deletionMs === undefined || subject.deletionMs >= now - deletionLeewayMs);
    if (!lives(await this.#subjects.serviceAccount(namespace, serviceaccount.name), serviceaccount.uid))
      return fail(`service account ${namespace}/${serviceaccount.name} has been deleted`);
    const extra: Record<string, string[]> = {};
    if (payload.jti !== undefined) extra['authentication.kubernetes.io/credential-id'] = [`JTI=${payload.jti}`];
    if (claim?.pod?.name) {
      if (!lives(await this.#subjects.pod(namespace, claim.pod.name), claim.pod.uid))
        return fail(`pod ${namespace}/${claim.pod.name} has been deleted`);
      extra['authentication.kubernetes.io/pod-name'] = [claim.pod.name];
      extra['authentication.kubernetes.io/pod-uid'] = [claim.pod.uid ?? ''];
    }
    if (claim?.secret?.name && !lives(await this.#subjects.secret(namespace, claim.secret.name), claim.secret.uid))
      return fail(`secret ${namespace}/${claim.secret.name} has been deleted`);
    if (claim?.node?.name) {
      if (claim.pod === undefined && !lives(await this.#subjects.node(claim.node.name), claim.node.uid))
        return fail(`node ${claim.node.name} has been deleted`);
      extra['authentication.kubernetes.io/node-name'] = [claim.node.name];
      if (claim.node.uid) extra['authentication.kubernetes.io/node-uid'] = [claim.node.uid];
    }
    return {
      result: {
        user: serviceAccountUser(namespace, serviceaccount.name, serviceaccount.uid, extra),
        audiences: common,
      },
      expires: (payload.exp ?? 0) * 1000,
    };
  }
}

/** Issuer of tokens that lie in Secrets (docs: configure-service-account, "Manually create a long-lived API token"). They name no audience and do not end. */
const secretIssuer = 'kubernetes/serviceaccount';
const secretClaims = 'kubernetes.io/serviceaccount';

/** Makes the token of a Secret of type kubernetes.io/service-account-token. */
export async function secretTokenSigner(keys: {
  /** PKCS #8 PEM. */
  readonly privateKey: string;
  /** SPKI PEM of the same key. */
  readonly publicKey: string;
}): Promise<(namespace: string, account: { name: string; uid: string }, secret: string) => Promise<string>> {
  const key = await importPKCS8(keys.privateKey, 'ES256');
  const jwk = await exportJWK(await importSPKI(keys.publicKey, 'ES256', { extractable: true }));
  const kid = await calculateJwkThumbprint(jwk, 'sha256');
  return (namespace, account, secret) =>
    new SignJWT({
      [`${secretClaims}/namespace`]: namespace,
      [`${secretClaims}/secret.name`]: secret,
      [`${secretClaims}/service-account.name`]: account.name,
      [`${secretClaims}/service-account.uid`]: account.uid,
    })
      .setProtectedHeader({ alg: 'ES256', kid })
      .setIssuer(secretIssuer)
      .setSubject(`system:serviceaccount:${namespace}:${account.name}`)
      .sign(key);
}

export interface TokenOptions {
  /** PKCS #8 PEM. */
  readonly privateKey: string;
  /** SPKI PEMs; the first belongs to `privateKey`. */
  readonly publicKeys: readonly string[];
  readonly issuer: string;
  /** Audiences of the API server itself, and of tokens that ask for none. */
  readonly audiences: readonly string[];
  readonly subjects: TokenSubjects;
  readonly random: Random;
  now(): number;
}
