#!/bin/sh
# Runs xdrec with the secrets that are mounted, so that no password stands in a Compose file or an image.
set -eu
if [ -r /run/secrets/database_password ]; then
    PGPASSWORD="$(cat /run/secrets/database_password)"
    export PGPASSWORD
fi
if [ -r /run/secrets/llm_key ]; then
    XDREC_LLM__API_KEY="$(cat /run/secrets/llm_key)"
    export XDREC_LLM__API_KEY
fi
exec xdrec "$@"
