declare module '*.table' {
  const text: string;
  export default text;
}
