/** Texts of definitions (key '') and of their fields. */
export type Docs = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** What is said of the fields that every object has. */
export const objectTexts = {
  apiVersion:
    'APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources',
  kind: 'Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds',
  metadata:
    "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
} as const;

/** The texts of a definition. */
export function textsOf(docs: Docs, name: string): Readonly<Record<string, string>> {
  const { apiVersion, kind } = objectTexts;
  const texts: Record<string, string> = { apiVersion, kind, ...docs[name] };
  // A word of the npm packages to their compilers.
  for (const field in texts) texts[field] = texts[field]!.replace(/\s*@deprecated$/, '');
  return texts;
}

/** Texts name the values of an enumeration only where the document has no other place for them. */
export function plainText(text: string | undefined): string | undefined {
  return text?.replace(/\n\nPossible enum values:\n[\s\S]*$/, '').trimEnd();
}
