#!/usr/bin/env bash
# Apache Spark with Iceberg on one machine: `spark.sh run SCRIPT ARGUMENT..` runs a Python script that makes a session. Needs
# Python 3, Java 17 and Maven, which bring Spark (400 MB), Iceberg and SQLite's driver once.
set -euo pipefail
spark=4.1.4 iceberg=1.12.0 sqlite=3.54.1.0
home="$HOME/.cache/foretap-spark-$spark-$iceberg"

install() {
    [ -f "$home/done" ] && return
    mkdir -p "$home"
    # One at a time, whoever else starts a test.
    exec 9> "$home/lock"
    flock 9
    [ -f "$home/done" ] && return
    python3 -m venv --clear "$home/venv"
    "$home/venv/bin/python" -m pip install --quiet --disable-pip-version-check "pyspark==$spark" >&2
    cat > "$home/pom.xml" << POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>foretap</groupId>
  <artifactId>spark-peer</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.iceberg</groupId><artifactId>iceberg-spark-runtime-${spark%.*}_2.13</artifactId><version>$iceberg</version>
    </dependency>
    <dependency><groupId>org.xerial</groupId><artifactId>sqlite-jdbc</artifactId><version>$sqlite</version></dependency>
  </dependencies>
</project>
POM
    mvn --quiet --batch-mode --file "$home/pom.xml" dependency:copy-dependencies -DoutputDirectory="$home/libs" -DincludeScope=runtime >&2
    touch "$home/done"
    exec 9>&-
}

case "${1:-} ${2:-}" in
    "run "?*)
        install
        shift
        # The driver of a database is looked for by the loader of classes that Java starts with.
        classes=$(printf '%s:' "$home"/libs/*.jar)
        export PYSPARK_PYTHON="$home/venv/bin/python" SPARK_LOCAL_IP=127.0.0.1
        export PYSPARK_SUBMIT_ARGS="--driver-memory 1g --driver-class-path $classes pyspark-shell"
        exec "$home/venv/bin/python" "$@"
        ;;
    *) echo "spark.sh run SCRIPT ARGUMENT.." >&2 && exit 2 ;;
esac
