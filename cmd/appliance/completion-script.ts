/** What can stand after one command on the command line. */
export interface CompletionPlace {
  /** Names of the commands down to it: `config show`; '' is the program itself. */
  readonly place: string;
  /** Commands, or what the argument may be. */
  readonly words: readonly { readonly word: string; readonly about: string }[];
  readonly options: readonly CompletionOption[];
}

export interface CompletionOption {
  /** `-o`, `--output`. */
  readonly names: readonly string[];
  readonly about: string;
  /** What follows it: nothing, a file, one of some words, or anything else. */
  readonly value: 'none' | 'file' | 'any' | readonly string[];
}

/** Everything the three scripts need: the places, what leads from one to the next, and options with values by name. */
interface Tables {
  readonly places: readonly CompletionPlace[];
  /** `/config`, `config/show`: after a place, this word leads on. */
  readonly steps: readonly string[];
  readonly valued: readonly CompletionOption[];
}

function tables(places: readonly CompletionPlace[]): Tables {
  const valued = new Map<string, CompletionOption>();
  for (const { options } of places)
    for (const option of options) if (option.value !== 'none') valued.set(option.names.join(), option);
  const steps = places
    .filter(({ place }) => place !== '')
    .map(({ place }) => `${place.split(' ').slice(0, -1).join(' ')}/${place.split(' ').at(-1)}`);
  return { places, steps, valued: [...valued.values()] };
}

/** What the executable is called: installed, and as the build names it. Shells look for the last part of a path. */
const programNames = ['appliance', 'appliance-linux-x64', 'appliance-linux-arm64'];

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
/** Alternatives of a `case` of the shells. */
const alternatives = (texts: readonly string[]): string => texts.map(quoted).join('|');
const namesOf = (options: readonly CompletionOption[]): string[] => options.flatMap(({ names }) => names);

function bash({ places, steps, valued }: Tables): string {
  return `# bash completion of appliance; load it with: source <(appliance completion bash)
_appliance() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" place="" option="" word words="" i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    if [[ -n $option ]]; then option=""; continue; fi
    case "$word" in
      ${alternatives(namesOf(valued))}) option="$word" ;;
      -*) ;;
      *) case "$place/$word" in ${alternatives(steps)}) place="\${place:+$place }$word" ;; esac ;;
    esac
  done
  case "$option" in
    '') ;;
${valued
  .map(({ names, value }) => {
    if (value === 'file')
      return `    ${alternatives(names)}) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;`;
    if (typeof value === 'string') return `    ${alternatives(names)}) return ;;`;
    return `    ${alternatives(names)}) words=${quoted(value.join(' '))} ;;`;
  })
  .join('\n')}
  esac
  if [[ -z $option ]]; then
    case "$place\${cur:0:1}" in
${places
  .map(
    ({ place, words, options }) =>
      `      ${quoted(`${place}-`)}) words=${quoted(namesOf(options).join(' '))} ;;
      ${quoted(place)}*) words=${quoted(words.map(({ word }) => word).join(' '))} ;;`,
  )
  .reverse()
  .join('\n')}
    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _appliance ${programNames.join(' ')}
`;
}

function zsh({ places, steps, valued }: Tables): string {
  const described = (word: string, about: string): string => quoted(`${word.replaceAll(':', '\\:')}:${about}`);
  return `#compdef ${programNames.join(' ')}
# zsh completion of appliance; load it with: source <(appliance completion zsh)
_appliance() {
  local place="" option="" word i
  local -a candidates options
  for ((i = 2; i < CURRENT; i++)); do
    word="\${words[i]}"
    if [[ -n $option ]]; then option=""; continue; fi
    case "$word" in
      (${alternatives(namesOf(valued))}) option="$word" ;;
      (-*) ;;
      (*) case "$place/$word" in (${alternatives(steps)}) place="\${place:+$place }$word" ;; esac ;;
    esac
  done
  case "$option" in
    ('') ;;
${valued
  .map(({ names, value }) => {
    if (value === 'file') return `    (${alternatives(names)}) _files; return ;;`;
    if (typeof value === 'string') return `    (${alternatives(names)}) return ;;`;
    return `    (${alternatives(names)}) compadd -- ${value.map(quoted).join(' ')}; return ;;`;
  })
  .join('\n')}
  esac
  case "$place" in
${places
  .map(
    ({ place, words, options }) => `    (${quoted(place)})
      candidates=(${words.map(({ word, about }) => described(word, about)).join(' ')})
      options=(${options.flatMap(({ names, about }) => names.map((name) => described(name, about))).join(' ')}) ;;`,
  )
  .join('\n')}
  esac
  if [[ "\${words[CURRENT]}" == -* ]]; then _describe option options; else _describe command candidates; fi
}
if [[ "\${funcstack[1]}" == _appliance ]]; then _appliance "$@"; else compdef _appliance ${programNames.join(' ')}; fi
`;
}

function fish({ places, steps, valued }: Tables): string {
  const text = (value: string): string => `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const option = ({ names, about, value }: CompletionOption): string => {
    const flags = names
      .map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`))
      .join(' ');
    const takes =
      value === 'none'
        ? ''
        : value === 'file'
          ? ' -r -F'
          : ` -x${typeof value === 'string' ? '' : ` -a ${text(value.join(' '))}`}`;
    return `${flags}${takes} -d ${text(about)}`;
  };
  const complete = `complete ${programNames.map((name) => `-c ${name}`).join(' ')}`;
  return `# fish completion of appliance; load it with: appliance completion fish | source
function __appliance_at
    set -l place ''
    set -l option ''
    for word in (commandline -opc)[2..-1]
        if test -n "$option"
            set option ''
            continue
        end
        switch $word
            case ${namesOf(valued).map(text).join(' ')}
                set option $word
            case '-*'
            case '*'
                switch "$place/$word"
                    case ${steps.map(text).join(' ')}
                        set place (string trim "$place $word")
                end
        end
    end
    test "$place" = "$argv[1]"
end
${complete} -f
${places
  .flatMap(({ place, words, options }) => {
    const here = `${complete} -n ${text(`__appliance_at '${place}'`)}`;
    return [
      ...words.map(({ word, about }) => `${here} -a ${text(word)} -d ${text(about)}`),
      ...options.map((one) => `${here} ${option(one)}`),
    ];
  })
  .join('\n')}
`;
}

const scripts = { bash, zsh, fish } as const;
export const shells = Object.keys(scripts) as (keyof typeof scripts)[];

/** A script that makes a shell complete the command line; it calls nothing. */
export function completionScript(shell: keyof typeof scripts, places: readonly CompletionPlace[]): string {
  return scripts[shell](tables(places));
}
