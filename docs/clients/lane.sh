#!/bin/sh
# A price checker in shell, with socat: lane.sh SOCKET|HOST:PORT LANE CODE
# For HOST:PORT the files of `shelfd lane add LANE` lie in the working directory. Prints the answer's line; exit code 1 for an error.
set -eu
address=$1 lane=$2 code=$3

case $address in
*/*) peer=UNIX-CONNECT:$address ;;
*) peer=OPENSSL:$address,cafile=authority.crt,cert=$lane.crt,key=$lane.key,verify=1 ;;
esac

# Both calls in one go: shelfd answers in order, and a Unix socket's other side may be closed at once. TLS wants it open until the
# answers are here: -t waits that long, and shelfd closes as soon as it has answered.
answer=$(printf '%s\n' \
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\",\"params\":{\"lane\":\"$lane\",\"client\":\"lane.sh\"}}" \
	"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"item.lookup\",\"params\":{\"code\":\"$code\"}}" |
	socat -t 2 - "$peer" | tail -n 1)

printf '%s\n' "$answer"
case $answer in
*'"result":'*) exit 0 ;;
*) exit 1 ;;
esac
