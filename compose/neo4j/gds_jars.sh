#!/bin/sh
# Bring the jars of GDS that a Neo4j does not have already: gds_jars.sh POM FOLDER
set -eu
pom=$1
folder=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

copy() {
  mvn --quiet --batch-mode --file "$1" dependency:copy-dependencies \
    -DincludeScope=runtime -Dmdep.prependGroupId=true -DoutputDirectory="$2"
}

# The same pom with nothing but Neo4j names what its image has already: GDS gets along with those.
awk '
  /<dependency>/ { block = ""; inside = 1 }
  inside { block = block $0 "\n" }
  /<\/dependency>/ { inside = 0; if (block ~ /<groupId>org\.neo4j<\/groupId>/) printf "%s", block; next }
  !inside { print }
' "$pom" > "$work/neo4j-only.xml"
copy "$pom" "$work/all"
copy "$work/neo4j-only.xml" "$work/neo4j"

mkdir -p "$folder"
for jar in "$work"/all/*.jar; do
  library=${jar##*/}
  library=${library%-[0-9]*}
  # Whatever the version: of two on the class path, the server's own would come first anyway.
  ls "$work/neo4j/$library"-[0-9]*.jar >/dev/null 2>&1 || cp "$jar" "$folder/"
done
[ -n "$(ls "$folder"/org.neo4j.gds.proc-machine-learning-*.jar)" ]
