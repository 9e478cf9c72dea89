/** A resource quantity as written: `100m`, `1Gi`; JSON numbers are accepted on input and stored as text. */
export type Quantity = string;
export type IntOrString = number | string;
