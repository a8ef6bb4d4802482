#!/bin/bash
#
# Turns a machine that has just booted into a runner, and turns it off when it is of no more use.
#
# The machine ends itself: with the launch template's shutdown behaviour `terminate`, power off is the end of the
# instance, whoever else has gone. So this script's first act is to arm its own lifetime, and whatever way it ends,
# it powers off. It downloads nothing; it needs bash, curl, jq and coreutils (and setpriv of util-linux, if root).
#
# It lies beside the runner program's directory, in one of its own that a job cannot write to: what a job changed there
# would run as root, if the machine were started again. Three seams, for tests; on a machine all three are unset:
#   IMDS_ENDPOINT      the instance metadata service        (http://169.254.169.254)
#   AWS_ENDPOINT_URL   SSM                                  (https://ssm.<region>.amazonaws.com)
#   POWEROFF_COMMAND   a program without arguments          (systemctl poweroff)

set -euo pipefail

# Each background process gets a process group of its own, so that it can be signalled with all its children. And
# without job control bash starts them with SIGINT ignored, which the listener, a .NET program, would respect
# (dotnet/corefx#25749): it could not be stopped by SIGINT.
set -m

# The limits that hold without a secret, in seconds. What the secret brings may only shorten them.
readonly SECRET_TIMEOUT=900 MAX_LIFETIME=86400

# How long a listener may take to end after SIGINT before it counts as hanging.
readonly STOP_TIMEOUT=60

readonly METADATA_ATTEMPTS=60 DELETE_ATTEMPTS=10

home=$(cd "${BASH_SOURCE[0]%/*}" && pwd) && readonly home state=$home/state runner=${home%/*}/actions-runner
readonly imds=${IMDS_ENDPOINT:-http://169.254.169.254}

waited=0                # seconds since the start
answer=                 # SSM's, to GetParameter
listener=               # the listener's process group
declare -A timers=()    # the armed timers' process groups, by name
declare -A role=()      # the role's credentials: access_key, secret_key, session_token
declare -A parameter=() # the parameter's fields

say() {
  printf 'runner-scaler: %s\n' "$*"
}

die() {
  say "$*"
  exit 1
}

power_off() {
  if [[ -n ${POWEROFF_COMMAND-} ]]; then
    "$POWEROFF_COMMAND"
  else
    [[ ! -e /etc/runner-scaler-logs ]] || timeout 15 systemctl stop runner-scaler-logs.service || true # it sends the last
    # Doubly forced, systemctl stops nothing in order and asks no one: for a systemd that is itself stuck.
    systemctl poweroff || shutdown -h now || systemctl poweroff --force --force
  fi
}

on_exit() {
  local status=$?
  trap - EXIT
  trap '' HUP INT TERM # the shutdown's own
  say "powering off (status $status)"
  power_off
}

# --- time --------------------------------------------------------------------------------------

# pause SECONDS: waits, and keeps count.
pause() {
  sleep "$1"
  waited=$((waited + $1))
  ((waited >= SECONDS)) || waited=$SECONDS
}

# arm NAME SECONDS SENTENCE: power off in SECONDS, unless disarmed. It does so by itself: the rest may hang.
arm() {
  {
    sleep "$2" || exit # its end, not its time, has come
    say "$3"
    power_off
  } &
  disarm "$1" # the one before
  timers[$1]=$!
  disown
}

# arm_event NAME SECONDS: send the event NAME in SECONDS, unless disarmed.
arm_event() {
  {
    sleep "$2" || exit # its end, not its time, has come
    echo "$1" >&"$events"
  } &
  disarm "$1"
  timers[$1]=$!
  disown
}

# SIGKILL, since a subshell that has just been forked still has this shell's traps.
disarm() {
  [[ -z ${timers[$1]-} ]] || kill -KILL -- "-${timers[$1]}" 2>/dev/null || true
  unset "timers[$1]"
}

# --- the instance ------------------------------------------------------------------------------

# The token and the credentials reach curl through its configuration on standard input, never through argv.
imds_curl() {
  curl --disable --config - --silent --noproxy '*' --connect-timeout 2 --max-time 10 "$@"
}

# metadata PATH...: two lines for each path, the value and the HTTP status.
metadata() {
  local token path
  token=$(
    imds_curl --fail --request PUT "$imds/latest/api/token" \
      <<<'header = "x-aws-ec2-metadata-token-ttl-seconds: 3600"'
  ) || return
  {
    printf 'header = "x-aws-ec2-metadata-token: %s"\n' "$token"
    for path; do
      printf 'url = "%s/latest/%s"\n' "$imds" "$path"
    done
  } | imds_curl --write-out '\n%{http_code}\n'
}

identify() {
  local attempt status='' answers=()
  for ((attempt = 1; attempt <= METADATA_ATTEMPTS; attempt++)); do
    mapfile -t answers < <(
      metadata meta-data/instance-id meta-data/placement/region \
        meta-data/tags/instance/runner-scaler:fleet meta-data/iam/security-credentials/
    )
    status="${answers[*]:1:1} ${answers[*]:3:1} ${answers[*]:5:1} ${answers[*]:7:1}"
    [[ $status != '200 200 200 200' ]] || break
    pause 1
  done
  case $status in
  '200 200 200 200') ;;
  '200 200 200 '*) die 'the metadata service knows no role: give the launch template an instance profile' ;;
  '200 200 '*) die 'the metadata service knows no tag runner-scaler:fleet: the launch template must enable' \
    'InstanceMetadataTags, and the scaler must have launched this instance' ;;
  *) die "the metadata service did not answer $METADATA_ATTEMPTS times (HTTP ${answers[1]:-none})" ;;
  esac
  instance=${answers[0]} region=${answers[2]} fleet=${answers[4]} role_name=${answers[6]}
  [[ $instance =~ ^i-[0-9a-f]+$ && $region =~ ^[a-z0-9-]+$ && $fleet =~ ^[A-Za-z0-9_.-]+$ ]] ||
    die 'the metadata service answered with an instance id, region or fleet that is none'
}

credentials() {
  local answers=() fields=()
  mapfile -t answers < <(metadata "meta-data/iam/security-credentials/$role_name")
  [[ ${answers[*]: -1} == 200 ]] || return
  unset 'answers[-1]'
  mapfile -t fields < <(
    printf '%s' "${answers[*]}" | jq -r 'select(.Code == "Success") | .AccessKeyId, .SecretAccessKey, .Token' 2>/dev/null
  )
  ((${#fields[@]} == 3)) || return
  role=([access_key]=${fields[0]} [secret_key]=${fields[1]} [session_token]=${fields[2]})
}

# --- the parameter -----------------------------------------------------------------------------

# ssm ACTION FIELDS: the answer, then a line with the HTTP status. curl signs.
ssm() {
  printf 'user = "%s:%s"\nheader = "x-amz-security-token: %s"\n' \
    "${role[access_key]}" "${role[secret_key]}" "${role[session_token]}" |
    curl --disable --config - --silent --connect-timeout 5 --max-time 20 --write-out '\n%{http_code}' \
      --aws-sigv4 "aws:amz:$region:ssm" \
      --header 'content-type: application/x-amz-json-1.1' --header "x-amz-target: AmazonSSM.$1" \
      --data "{\"Name\": \"$parameter_name\"$2}" "${AWS_ENDPOINT_URL:-https://ssm.$region.amazonaws.com}/"
}

# Names the error in an answer of SSM; only its type, since a message could quote what it was sent.
ssm_error() {
  if [[ $1 =~ \"__type\"[[:space:]]*:[[:space:]]*\"([A-Za-z#.]+)\" ]]; then
    printf '%s' "${BASH_REMATCH[1]##*#} (HTTP ${1##*$'\n'})"
  else
    printf '%s' "no answer (HTTP ${1##*$'\n'})"
  fi
}

# The parameter comes some time after the launch, or never. A missing one may also be answered by AccessDenied: the
# role may only read a parameter that has this instance's id as a tag, and a missing one has no tags. What SSM answers is
# told when it changes: a clock that is off, no route, no right are each known by it.
await_parameter() {
  local last='not asked' told=''
  until [[ ${answer##*$'\n'} == 200 ]]; do
    ((waited < SECRET_TIMEOUT)) || die "no registration secret in $parameter_name: $last"
    if ((${#role[@]})) || credentials; then
      answer=$(ssm GetParameter ', "WithDecryption": true' || true)
    else
      answer='no role credentials' last='the metadata service has no role credentials'
    fi
    case $answer in
    *$'\n'200) continue ;;
    *ParameterNotFound*) last='never put' ;;
    *Throttling*) last=throttled && pause $((1 + RANDOM % 4)) ;; # 40 calls a second, for the whole account
    *'no role'*) ;;
    *) last=$(ssm_error "$answer") && role=() ;; # expired, perhaps: ask for new ones
    esac
    [[ $last == "$told" ]] || say "waiting: $last"
    told=$last
    pause 1
  done
}

# A job must not find it: a registration token would let it register runners of its own. When an answer to DELETE was
# lost, the next one is an error, and which one is the role's affair (see above): what counts is that a read fails.
delete_parameter() {
  local attempt gone left
  for ((attempt = 1; attempt <= DELETE_ATTEMPTS; attempt++)); do
    gone=$(ssm DeleteParameter '' || true)
    [[ ${gone##*$'\n'} != 200 ]] || return 0
    left=$(ssm GetParameter '' || true)
    [[ $left != *ParameterNotFound* && $left != *AccessDenied* ]] || return 0
    pause 1
    credentials || true
  done
  die "could not delete $parameter_name: $(ssm_error "$gone"); a job could read it, so there will be no job"
}

# Everything is checked here, and is data from here on. Its errors name fields, never values.
readonly READ_PARAMETER='
  def need(test; why): if test then . else error(why) end;
  def text(pattern): type == "string" and test(pattern);
  def seconds: type == "number" and . > 0 and . == floor;
  try (
    [.Parameter.Value | fromjson?][0] |
    need(type == "object"; "it is not a JSON object") |
    need(.v == 1; "v is not 1: the scaler is newer than this image") |
    need(.registration == "jit" or .registration == "token"; "registration is not jit or token") |
    need(.url | text("^https://[!-~]+\\z|^http://(127\\.0\\.0\\.1|localhost)[:/][!-~]*\\z"); "url is not https") |
    need(.name | text("^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\\z"); "name is not a runner name") |
    need(.labels | type == "array" and length > 0 and all(.[]; text("^[^-,\\p{Cc}][^,\\p{Cc}]*\\z")); "labels") |
    need(.group | . == null or text("^[^-\\p{Cc}][^\\p{Cc}]*\\z"); "group is not a name") |
    need(.ephemeral | type == "boolean"; "ephemeral is not true or false") |
    need(.secret | text("^[!-~]+\\z"); "secret is not a line of text") |
    need(.limits | type == "object"; "limits is not an object") |
    need(.limits.boot_timeout | seconds; "limits.boot_timeout") |
    need(.limits.max_lifetime | seconds; "limits.max_lifetime") |
    need(.limits.idle_timeout | . == null or seconds; "limits.idle_timeout") |
    "ok", .registration, .url, .name, (.labels | join(",")), (.group // ""), .ephemeral, .secret,
    .limits.boot_timeout, (.limits.idle_timeout // ""), .limits.max_lifetime
  ) catch "\(.)"'

read_parameter() {
  local key fields=()
  mapfile -t fields < <(printf '%s' "${answer%$'\n'*}" | jq -r "$READ_PARAMETER" 2>/dev/null)
  unset answer
  [[ ${fields[0]-} == ok ]] || die "$parameter_name is not for this image: ${fields[0]-no answer that jq can read}"
  fields=("${fields[@]:1}")
  for key in registration url name labels group ephemeral secret boot_timeout idle_timeout max_lifetime; do
    parameter[$key]=${fields[0]}
    fields=("${fields[@]:1}")
  done
}

# least A B: the smaller, but at least one second.
least() {
  local least=$(($1 < $2 ? $1 : $2))
  echo $((least > 0 ? least : 1))
}

# --- the runner --------------------------------------------------------------------------------

# Becomes a program of the runner's; for a subshell. Neither the seams nor the events are a job's business.
become() {
  unset IMDS_ENDPOINT AWS_ENDPOINT_URL POWEROFF_COMMAND
  exec {events}>&-
  if ((EUID == 0)) && id runner &>/dev/null; then
    export HOME=~runner USER=runner LOGNAME=runner
    exec setpriv --reuid=runner --regid=runner --init-groups "$@"
  fi
  exec "$@"
}

# The hook that the runner calls before a job leaves a mark. The listener's own lines say the same, unless their form
# changes; the hook does, unless an image's .env names another. It must not fail: that would fail the job.
prepare() {
  # shellcheck disable=SC2016 # it expands when the hook runs
  local hook='#!/bin/bash
: >"${0%/*}/marks/job-started" || true'
  mkdir "$state"
  mkdir -m 1777 "$state/marks"
  echo "$hook" >"$state/job-started.sh"
  chmod 755 "$state/job-started.sh"
  mkfifo -m 600 "$state/events"
  exec {events}<>"$state/events"
  rm "$state/events"
}

# With a token the runner registers itself. The token is in the environment of config.sh alone, which takes it out of
# its own and has ended before any job starts (actions/runner, CommandSettings.cs: "Store and remove any args passed
# via environment variables").
register() {
  local arguments=(--unattended --url "${parameter[url]}" --name "${parameter[name]}" --labels "${parameter[labels]}"
    --no-default-labels --work _work --disableupdate)
  [[ ${parameter[ephemeral]} != true ]] || arguments+=(--ephemeral)
  [[ -z ${parameter[group]} ]] || arguments+=(--runnergroup "${parameter[group]}")
  (
    export ACTIONS_RUNNER_INPUT_TOKEN=${parameter[secret]}
    become ./config.sh "${arguments[@]}" 2>&1
  ) | relay
}

# relay [MARK]: a program's lines go to the console, what they mean becomes events. With MARK it ends at a line
# `MARK STATUS`, since a job may leave a process behind that holds the pipe open.
relay() {
  local line stamp='^[0-9-]+ [0-9:]+Z: '
  trap '' INT TERM # on shutdown too, the program's last lines are worth reading
  while IFS= read -r line; do
    if [[ -n ${1-} && $line == "$1 "* ]]; then
      echo "ended ${line##* }" >&"$events"
      return
    fi
    [[ -z $line ]] || printf 'runner: %s\n' "${line//[[:cntrl:]]/}"
    if [[ $line =~ ${stamp}Listening\ for\ Jobs ]]; then
      echo listening >&"$events"
    elif [[ $line =~ ${stamp}Running\ job:\  ]]; then
      echo job-started >&"$events"
    elif [[ $line =~ ${stamp}Job\ .*\ completed\ with\ result ]]; then
      echo job-finished >&"$events"
    elif [[ $line =~ ^An\ error\ occur+ed:\ Runner\ version\ .*\ deprecated ]]; then
      echo deprecated >&"$events"
    fi
  done
}

# Starts the listener; its events tell the rest. A JIT configuration stays out of argv, and the listener takes it out
# of the environment that jobs inherit (as above). It is good for this one runner, whose credentials the listener
# keeps in files anyway.
start_listener() {
  local mark="ended-$SRANDOM$SRANDOM"
  {
    trap : INT TERM # signals are for the listener; this shell stays, to tell how it ended
    status=0
    (
      [[ ${parameter[registration]} != jit ]] || export ACTIONS_RUNNER_INPUT_JITCONFIG=${parameter[secret]}
      export ACTIONS_RUNNER_HOOK_JOB_STARTED=$state/job-started.sh
      export ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE=1
      export RUNNER_MANUALLY_TRAP_SIG=1 # run.sh hands signals on, and waits for the listener to end
      become ./run.sh 2>&1
    ) || status=$?
    printf '\n%s %s\n' "$mark" "$status"
  } | relay "$mark" &
  listener=$(jobs -p %%)
  disown
  unset 'parameter[secret]'
}

arm_idle() {
  [[ -z ${parameter[idle_timeout]} ]] || arm_event idle "${parameter[idle_timeout]}"
}

# The listener is stopped before the machine, and seen to end without a job.
stop_idle() {
  say "no job for ${parameter[idle_timeout]} s: stopping the runner"
  arm stop "$STOP_TIMEOUT" "the listener hangs: it did not end within $STOP_TIMEOUT s of SIGINT"
  kill -INT -- "-$listener" 2>/dev/null || true
}

# Waits until the listener has ended, and says how.
serve() {
  local event jobs=0 busy='' online='' deprecated='' stopping=''
  while read -r event <&"$events"; do
    case $event in
    listening)
      online=yes
      disarm boot
      arm_idle
      ;;
    job-started)
      jobs=$((jobs + 1)) busy=yes
      disarm idle
      disarm stop # a job came in that very moment: let it end
      ;;
    job-finished)
      busy=
      rm -f "$state/marks/job-started"
      if [[ ${parameter[ephemeral]} == true ]]; then
        arm stop "$STOP_TIMEOUT" "the listener hangs: it did not end within $STOP_TIMEOUT s of its only job"
      else
        arm_idle
      fi
      ;;
    deprecated) deprecated=yes ;;
    idle)
      [[ -z $busy && ! -e $state/marks/job-started ]] || continue
      stopping=yes
      stop_idle
      ;;
    ended*) break ;;
    esac
  done
  [[ -z $deprecated && $event != 'ended 7' ]] ||
    die 'GitHub refuses this version of the runner program: build a new image'
  [[ -n $online ]] || die "the runner ended before it was online (status ${event#ended })"
  ((jobs > 0)) || [[ -n $stopping || -e $state/marks/job-started ]] ||
    die "the runner ended without a job (status ${event#ended }): GitHub may have removed it while it was idle"
  say "the runner ended after $jobs job(s)"
}

main() {
  trap on_exit EXIT
  trap 'die "stopped by a signal"' HUP INT TERM
  cd "$runner"

  arm lifetime "$MAX_LIFETIME" "has lived for $MAX_LIFETIME s"
  arm secret "$SECRET_TIMEOUT" "no registration secret in $SECRET_TIMEOUT s"
  [[ ! -e $state ]] || die 'this machine has had its secret before: a runner boots only once'

  identify
  parameter_name=/runner-scaler/$fleet/$instance
  say "$instance in $region waits for $parameter_name"
  await_parameter
  delete_parameter
  read_parameter
  prepare

  local lifetime
  lifetime=$(least "${parameter[max_lifetime]}" "$MAX_LIFETIME")
  arm lifetime "$(least $((lifetime - waited)) "$lifetime")" "has lived for its $lifetime s"
  arm boot "$(least $((parameter[boot_timeout] - waited)) "$lifetime")" \
    "the runner was not online in ${parameter[boot_timeout]} s"
  disarm secret

  say "registering ${parameter[name]} at ${parameter[url]} by ${parameter[registration]}"
  if [[ ${parameter[registration]} == token ]]; then
    register || die "the registration failed (config.sh ended with $?)"
  fi
  start_listener
  serve
}

# The last line, so that bash has read the whole script before it runs any of it.
main
