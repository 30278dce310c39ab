# The node's base where no registry can be reached: a Debian made from packages, with what kind's own base image does to it.
ARG DEBIAN
FROM $DEBIAN
COPY kind/ /
COPY runc-unprivileged /usr/local/share/understudy/
COPY service-range.service /etc/systemd/system/
ARG WITHHELD
RUN set -eu; \
    chmod 755 /kind /kind/bin /kind/bin/* /usr/local/bin/*; \
    find /lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete; \
    rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
        /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/sockets.target.wants/*udev* \
        /lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/*; \
    echo ReadKMsg=no >> /etc/systemd/journald.conf; \
    ln -sf /usr/lib/systemd/systemd /sbin/init; \
    # kind's units and configuration look where its own builds put things, not where Debian does.
    ln -sf /usr/bin/containerd /usr/bin/ctr /usr/local/bin/; \
    mkdir -p /opt/cni /etc/cni/net.d /etc/kubernetes/manifests; \
    ln -sfn /usr/lib/cni /opt/cni/bin; \
    systemctl enable kubelet.service containerd.service undo-mount-hacks.service service-range.service; \
    systemctl mask systemd-binfmt.service; \
    ctr oci spec \
        | jq '.hooks.createContainer += [{"path": "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' \
        > /etc/containerd/cri-base.json; \
    if [ "$WITHHELD" = yes ]; then \
        install -m 755 /usr/local/share/understudy/runc-unprivileged /usr/local/sbin/runc; \
        # Lowering the score of a pod's first process needs the withheld capability: without this every pod dies.
        sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml; \
        grep -q 'restrict_oom_score_adj = true' /etc/containerd/config.toml; \
    fi
# One node needs no more of a network plugin than a bridge; kind's own plugin is not among what can be fetched.
COPY bridge.conflist /etc/cni/net.d/10-bridge.conflist
ENV container=docker
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
