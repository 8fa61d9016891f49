#!/usr/bin/env bash
# Publish two messages, receive and acknowledge them. Needs nothing but bash.
# Usage: consume.sh HOST PORT
set -euo pipefail
export LC_ALL=C # lengths count bytes

exec {portask}<>"/dev/tcp/${1:-127.0.0.1}/${2:-7672}"

send() { printf '%s\n' "$*" >&"$portask"; }

# The next line into $line. Of a MSG also its payload into $payload, its id into $id.
receive() {
  local length words
  IFS= read -r -u "$portask" line || { echo "the server closed the connection" >&2; exit 1; }
  case $line in
    MSG\ *)
      read -r -a words <<<"$line"
      id=${words[1]} length=${words[3]} payload=
      if [[ $length != - && $length != 0 ]]; then
        IFS= read -r -N "$length" -u "$portask" payload # drops NUL bytes; head -c keeps them
      fi
      IFS= read -r -u "$portask" _ # the line end behind the payload
      ;;
    ERR\ *) echo "refused: $line" >&2; exit 1 ;;
  esac
}

send "PUBLISH orders two books"
receive && echo "stored as ${line#OK }"

text=$'three\nlines\nof text'
printf 'PUBLISHB orders %d key=customer-7 h.kind=note\n%s' "${#text}" "$text" >&"$portask"
receive && echo "stored as ${line#OK }"

send "SUBSCRIBE orders example"
received=0 settled=0
while ((settled < 2)); do
  receive
  case $line in
    MSG\ *)
      received=$((received + 1))
      echo "message $received: $payload"
      send "ACK $id"
      ;;
    "OK 1") settled=$((settled + 1)) ;;
  esac
done
send QUIT
echo "settled $settled"
