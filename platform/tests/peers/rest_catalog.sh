#!/usr/bin/env bash
# Apache Iceberg's own REST catalog, over SQLite, on the loopback interface (rest_catalog/RestCatalog.java): `rest_catalog.sh start FOLDER PORT
# WAREHOUSE`, `rest_catalog.sh stop FOLDER`. FOLDER keeps its database, its log and its process id: a second start goes on with the
# same tables. Needs Java 17 and Maven, which brings it once.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/process.sh"
iceberg=1.11.0 jetty=12.1.14 hadoop=3.5.0 sqlite=3.54.1.0
home="$HOME/.cache/foretap-rest-catalog-$iceberg"

dependency() {
    echo "<dependency><groupId>$1</groupId><artifactId>$2</artifactId><version>$3</version>${4:+<classifier>$4</classifier>}</dependency>"
}

is_installed() {
    [ -f "$home/done" ] && cmp -s "$here/rest_catalog/RestCatalog.java" "$home/RestCatalog.java"
}

install() {
    is_installed && return
    mkdir -p "$home"
    # One at a time, whoever else starts a test.
    exec 9> "$home/lock"
    flock 9
    is_installed && return
    cat > "$home/pom.xml" << POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>foretap</groupId>
  <artifactId>rest-catalog-peer</artifactId>
  <version>1</version>
  <dependencies>
    $(dependency org.apache.iceberg iceberg-open-api $iceberg test-fixtures)
    $(dependency org.apache.iceberg iceberg-core $iceberg)
    $(dependency org.apache.iceberg iceberg-core $iceberg tests)
    $(dependency org.eclipse.jetty.ee10 jetty-ee10-servlet $jetty)
    $(dependency org.eclipse.jetty.compression jetty-compression-server $jetty)
    $(dependency org.eclipse.jetty.compression jetty-compression-gzip $jetty)
    $(dependency org.apache.hadoop hadoop-client-api $hadoop)
    $(dependency org.apache.hadoop hadoop-client-runtime $hadoop)
    $(dependency org.xerial sqlite-jdbc $sqlite)
    $(dependency org.slf4j slf4j-simple 2.0.17)
  </dependencies>
</project>
POM
    mvn --quiet --batch-mode --file "$home/pom.xml" dependency:copy-dependencies -DoutputDirectory="$home/libs" -DincludeScope=runtime >&2
    javac -cp "$home/libs/*" -d "$home/classes" "$here/rest_catalog/RestCatalog.java" >&2
    cp "$here/rest_catalog/RestCatalog.java" "$home"
    touch "$home/done"
    exec 9>&-
}

answers() {
    (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null
}

start() {
    local folder="$1" port="$2" warehouse="$3"
    mkdir -p "$folder"
    (exec java -Xmx256m -XX:+UseSerialGC -cp "$home/classes:$home/libs/*" RestCatalog \
        "$port" "$folder/catalog.sqlite" "$warehouse") > "$folder/log" 2>&1 &
    echo $! > "$folder/pid"
    await "the REST catalog" "$folder" "$port"
    echo "http://127.0.0.1:$port"
}

case "${1:-} ${2:-}" in
    "start "?*) install && start "$(realpath -m "$2")" "${3:?a port}" "${4:?a warehouse}" ;;
    "stop "?*) stop "$2" ;;
    *) echo "rest_catalog.sh start FOLDER PORT WAREHOUSE | stop FOLDER" >&2 && exit 2 ;;
esac
