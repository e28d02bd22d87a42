#!/usr/bin/env bash
# A real Apache Kafka of one node, on the loopback interface: `kafka.sh start FOLDER [PORT [guarded]]`, `kafka.sh stop FOLDER`.
# FOLDER keeps its data, its log and its process id: a second start goes on with the same data. Guarded, it listens three times
# more: on PORT+2 by TLS for those who have a certificate (FOLDER/client.pem, client.key; the authority's is ca.pem), on PORT+3
# by TLS and SASL, on PORT+4 by SASL alone, for `phones` with the password `secret`. Needs openssl for that. Needs Java 17 and
# Maven, which brings Kafka once. `kafka.sh tool FOLDER CLASS ARGUMENT..` runs one of Kafka's own tools, such as
# org.apache.kafka.tools.TopicCommand.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/process.sh"
version=4.3.1
home="$HOME/.cache/foretap-kafka-$version"

install() {
    [ -f "$home/done" ] && return
    mkdir -p "$home"
    # One at a time, whoever else starts a test.
    exec 9> "$home/lock"
    flock 9
    [ -f "$home/done" ] && return
    cat > "$home/pom.xml" << POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>foretap</groupId>
  <artifactId>kafka-peer</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$version</version></dependency>
  </dependencies>
</project>
POM
    mvn --quiet --batch-mode --file "$home/pom.xml" dependency:copy-dependencies -DoutputDirectory="$home/libs" -DincludeScope=runtime >&2
    touch "$home/done"
    exec 9>&-
}

run_java() {
    local folder="$1" heap="$2"
    shift 2
    exec java "-Xms$heap" "-Xmx$heap" -XX:+UseSerialGC -Dlog4j2.configurationFile="$folder/log4j2.properties" \
        -cp "$home/libs/*" "$@"
}

answers() {
    (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null
}

# An authority, a broker's certificate and a client's, as PEM; those that are there stay.
certify() {
    local folder="$1" name
    [ -f "$folder/client.pem" ] && return
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout "$folder/ca.key" -out "$folder/ca.pem"
    for name in broker client; do
        openssl req -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout "$folder/$name.key" -out "$folder/$name.csr"
        openssl x509 -req -in "$folder/$name.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial -days 2 \
            -extfile <(echo "subjectAltName=IP:127.0.0.1") -out "$folder/$name.pem"
    done
    # Kafka wants both in one file.
    cat "$folder/broker.key" "$folder/broker.pem" > "$folder/broker-both.pem"
}

guard() {
    local folder="$1" port="$2" module=org.apache.kafka.common.security
    cat << PROPERTIES
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1)),TLS://127.0.0.1:$((port + 2)),SASLTLS://127.0.0.1:$((port + 3)),SASL://127.0.0.1:$((port + 4))
advertised.listeners=PLAINTEXT://127.0.0.1:$port,TLS://127.0.0.1:$((port + 2)),SASLTLS://127.0.0.1:$((port + 3)),SASL://127.0.0.1:$((port + 4))
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,SASLTLS:SASL_SSL,SASL:SASL_PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location=$folder/broker-both.pem
ssl.truststore.type=PEM
ssl.truststore.location=$folder/ca.pem
listener.name.tls.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
PROPERTIES
    for listener in sasltls sasl; do
        echo "listener.name.$listener.plain.sasl.jaas.config=$module.plain.PlainLoginModule required user_phones=\"secret\";"
        for mechanism in scram-sha-256 scram-sha-512; do
            echo "listener.name.$listener.$mechanism.sasl.jaas.config=$module.scram.ScramLoginModule required;"
        done
    done
}

start() {
    local folder="$1" port="${2:-9092}" guarded="${3:-}"
    # The controller of the one node, which nobody else asks.
    local controller=$((port + 1))
    mkdir -p "$folder/data"
    cat > "$folder/server.properties" << PROPERTIES
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:$controller
log.dirs=$folder/data
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
message.max.bytes=33554432
log.message.timestamp.type=LogAppendTime
PROPERTIES
    local users=()
    if [ -n "$guarded" ]; then
        certify "$folder" 2> "$folder/openssl"
        # What stands later in such a file replaces what stood before.
        guard "$folder" "$port" >> "$folder/server.properties"
        for mechanism in SCRAM-SHA-256 SCRAM-SHA-512; do
            users+=(--add-scram "$mechanism=[name=phones,password=secret]")
        done
    fi
    cat > "$folder/log4j2.properties" << PROPERTIES
appender.console.type=Console
appender.console.name=console
appender.console.target=SYSTEM_ERR
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %m (%c)%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
PROPERTIES
    if [ ! -f "$folder/data/meta.properties" ]; then
        local id
        id="$(run_java "$folder" 64m kafka.tools.StorageTool random-uuid)"
        (run_java "$folder" 64m kafka.tools.StorageTool format --standalone --cluster-id "$id" --config "$folder/server.properties" "${users[@]}") >&2
    fi
    (run_java "$folder" 384m kafka.Kafka "$folder/server.properties") > "$folder/log" 2>&1 &
    echo $! > "$folder/pid"
    await Kafka "$folder" "$port"
    echo "127.0.0.1:$port"
}

case "${1:-} ${2:-}" in
    "start "?*) install && start "$(realpath -m "$2")" "${3:-9092}" "${4:-}" ;;
    "stop "?*) stop "$2" ;;
    "tool "?*) install && folder="$(realpath "$2")" && shift 2 && run_java "$folder" 256m "$@" ;;
    *) echo "kafka.sh start FOLDER [PORT [guarded]] | stop FOLDER | tool FOLDER CLASS ARGUMENT.." >&2 && exit 2 ;;
esac
