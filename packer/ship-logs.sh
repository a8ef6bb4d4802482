#!/bin/bash
#
# Sends what the boot script and the runner program say to CloudWatch Logs: one stream for each instance, in the group
# that the image was built with. It holds no secret: neither of them says one (docs/boot.md). For images built with a
# log_group alone; the instance's role needs logs:CreateLogStream and logs:PutLogEvents on it, which every job has too.
#
# LOG_GROUP says which. A hundred lines, or what comes before a second of quiet, are sent together; when it is stopped, all
# that the journal still has.

set -euo pipefail

readonly QUIET=1 LINES=100

lines=() ending=0

metadata() {
  curl --disable --fail --silent --noproxy '*' --retry 20 --retry-connrefused --retry-delay 1 --max-time 60 "$@"
}

send() {
  local events
  ((${#lines[@]})) || return 0
  events=$(
    printf '%s\n' "${lines[@]}" |
      jq -sc '[.[] | {timestamp: (.__REALTIME_TIMESTAMP | tonumber / 1000 | floor), message: (.MESSAGE | tostring)}]'
  )
  lines=()
  # A line that could not be sent is lost here; the serial console has it.
  aws logs put-log-events --log-group-name "$LOG_GROUP" --log-stream-name "$instance" \
    --log-events file:///dev/stdin <<<"$events" >/dev/null || true
}

token=$(metadata --request PUT --header 'x-aws-ec2-metadata-token-ttl-seconds: 300' http://169.254.169.254/latest/api/token)
read -r instance < <(
  metadata --header "x-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/meta-data/instance-id && echo
)
AWS_DEFAULT_REGION=$(
  metadata --header "x-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/meta-data/placement/region
)
export AWS_DEFAULT_REGION
aws logs create-log-stream --log-group-name "$LOG_GROUP" --log-stream-name "$instance" || true # after a restart

# The signal may itself end a read, so that it takes a second one to know that it is quiet.
trap 'ending=1' TERM
exec {journal}< <(exec journalctl --follow --lines=all --output=json --unit=runner-scaler.service)
while ((ending < 3)); do
  if IFS= read -r -t "$QUIET" -u "$journal" line; then
    lines+=("$line")
    ((${#lines[@]} < LINES)) || send
  elif (($? > 128)); then
    send
    ((ending == 0)) || ending=$((ending + 1))
  else
    break
  fi
done
send
