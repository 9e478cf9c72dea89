/** What the compiler is told, for every executable that is made of this tree. */
export const compileOptions = [
  ...['--compile', '--format=esm', '--splitting', '--bytecode'],
  // Names stay: 1.3 MB for stacks in which somebody finds his way. A source map would take 4 MB.
  ...['--minify-syntax', '--minify-whitespace'],
  // Functions are compiled when they are first called: 12 MB less than all of them, 8 MB less than those of the first level. A whole node has the same
  // memory, and its processes take 5 % more processor time until it is ready.
  '--bytecode-depth=0',
  // Files of the directory that the program happens to be called in must not change what it does, least of all as root.
  ...['--no-compile-autoload-dotenv', '--no-compile-autoload-bunfig'],
];
