/** What the compiler is told, for every executable that is made of this tree. */
export const compileOptions = [
  ...['--compile', '--format=esm', '--splitting', '--bytecode'],
  // Names stay: 1.3 MB for stacks in which somebody finds his way. A source map would take 4 MB.
  ...['--minify-syntax', '--minify-whitespace'],
  // Functions that are nested deeper are compiled when they are called: 4 MB less, and no start is slower.
  '--bytecode-depth=1',
  // Files of the directory that the program happens to be called in must not change what it does, least of all as root.
  ...['--no-compile-autoload-dotenv', '--no-compile-autoload-bunfig'],
];
