# shellcheck shell=bash
# shellcheck disable=SC2154 # agent, program, …: launch/mpirun sets them
# Sourced by launch/mpirun, whose words it uses: the hosts of a job. `hosts` is an array of lines `NAME SLOTS` (SLOTS empty: not said), as
# --hosts or a hostfile give them.

# hosts_of_list h1:2,h2 and hosts_of_file FILE fill `hosts`.
hosts_of_list() {
  local entry
  hosts=()
  for entry in ${1//,/ }; do
    [[ $entry == *:* ]] && hosts+=("${entry%%:*} ${entry##*:}") || hosts+=("$entry 1")
  done
}
hosts_of_file() {
  local name rest slots
  hosts=()
  while read -r name rest || [ -n "$name" ]; do
    slots=''
    [[ ! " $rest" =~ [[:space:]]slots=([0-9]+) ]] || slots=${BASH_REMATCH[1]}
    [[ -z $name || $name == \#* ]] || hosts+=("$name $slots")
  done <"$1"
}

# slots_of_hosts: of all together; nothing where one does not say.
slots_of_hosts() {
  local host sum=0
  for host in "${hosts[@]}"; do
    [ -n "${host#* }" ] || return 0
    sum=$((sum + ${host#* }))
  done
  echo "$sum"
}

# answers NAME: whether mpirun's remote shell (`agent`) reaches the host.
answers() {
  case $1 in localhost | 127.0.0.1 | "$(hostname)" | "$(hostname -s)") return 0 ;; esac
  # shellcheck disable=SC2086 # it may have options
  timeout 15 $agent "$1" true </dev/null >/dev/null 2>&1
}

# keep_those_that_answer: asks all hosts at the same time; those that do not answer leave `hosts`.
keep_those_that_answer() {
  local host asked=() left=()
  for host in "${hosts[@]}"; do
    answers "${host%% *}" &
    asked+=($!)
  done
  local i
  for i in "${!hosts[@]}"; do
    if wait "${asked[i]}"; then
      left+=("${hosts[i]}")
    else
      echo "launch/mpirun: host ${hosts[i]%% *} does not answer" >&2
    fi
  done
  hosts=("${left[@]}")
}

# write_hosts FILE: as a hostfile.
write_hosts() {
  local name slots
  printf '%s\n' "${hosts[@]}" | while read -r name slots; do
    echo "$name${slots:+ slots=$slots}"
  done >"$1"
}

# trains: whether the job is one training run.
trains() { [[ " ${program[*]} " == *" train "* && " ${program[*]} " != *" : "* ]]; }
# key_of_run dir: what the run's config has there.
key_of_run() { "${program[@]}" --print-config | sed -n "/^run:/,/^[a-z]/s/^  $1: *//p" | tr -d "\"'"; }

# options_of_check: sets `plain`, the options for mpirun without those that place ranks.
options_of_check() {
  local i
  plain=()
  for ((i = 0; i < ${#options[@]}; ++i)); do
    case ${options[i]} in
      --bind-to | --map-by | --rank-by | --rankfile | -rf | --npernode | -npernode | -N) ((++i)) ;;
      *) plain+=("${options[i]}") ;;
    esac
  done
}

# compare_hosts: refuses where a host does not see the same program, config, data and folder of runs as the first one.
compare_hosts() {
  local folder probe='' words=() word plain
  options_of_check
  folder=$(key_of_run dir)
  [ -n "$folder" ] || exit 2 # the config is refused, and why has been said
  # A new folder of runs comes into its parent; where that is not there either, the ranks will find out.
  for folder in "$folder" "$(dirname "$(realpath -m "$folder")")"; do
    [ -n "$probe" ] || probe=$(mktemp -p "$folder" .lmnet-probe-XXXXXX 2>/dev/null) || true
  done
  for word in "${program[@]}"; do
    if [ "$word" = train ]; then words+=(check ${probe:+"--sees=$probe"}); else words+=("$word"); fi
  done
  # shellcheck disable=SC2016 # the other host expands it
  mpirun "${placed[@]}" --map-by ppr:1:node --bind-to none "${plain[@]}" "${handed[@]}" bash -c '
    host=$(hostname)
    if command -v "$1" >/dev/null; then "$@" 2>&1; else printf "the program\t%s is not there\n" "$1"; fi |
      while IFS= read -r line; do printf "%s\t%s\n" "$host" "$line"; done' _ "${words[@]}" >"$errors.seen" </dev/null ||
    refuse "the hosts cannot be looked at (above)"
  [ -z "$probe" ] || rm -f "$probe"
  awk -F'\t' -v probe="$probe" '
    $2 ~ /^lmnet: / { error = $1 " says " $2; exit }
    !($1 in seen) { seen[$1]; host[++hosts] = $1 }
    !($2 in known) { known[$2]; name[++names] = $2 }
    { value[$1, $2] = $3 }
    END {
      if (error) { print error; exit }
      for (n = 1; n <= names; ++n)
        for (h = 2; h <= hosts; ++h) {
          one = value[host[1], name[n]]
          other = value[host[h], name[n]]
          if (one == other) continue
          printf "%s has %s %s, %s has %s", host[1], name[n] == probe ? "the folder of runs" : name[n],
            one == "" ? "nothing" : one, host[h], other == "" ? "nothing" : other
          exit
        }
    }' "$errors.seen" >"$errors.differs"
  [ ! -s "$errors.differs" ] ||
    refuse "$(<"$errors.differs"); all hosts must see the same program, config, data and run.dir"
}
