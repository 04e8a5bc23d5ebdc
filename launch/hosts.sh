# shellcheck shell=bash
# shellcheck disable=SC2154 # agent: launch/mpirun sets it
# Sourced by launch/mpirun: the hosts of a job. `hosts` is an array of lines `NAME SLOTS` (SLOTS empty: not said), as
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
  while read -r name rest; do
    slots=''
    [[ ! $rest =~ slots=([0-9]+) ]] || slots=${BASH_REMATCH[1]}
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
