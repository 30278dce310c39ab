# A git remote over HTTP, for the tests' Argo CD to follow.
# BASE: any Debian with git and Python 3.
ARG BASE
FROM $BASE
COPY git_remote.py /opt/understudy/
RUN install -d -o 65532 -g 65532 /srv/git
USER 65532:65532
ENV HOME=/srv/git
WORKDIR /srv/git
EXPOSE 8080
ENTRYPOINT []
CMD ["python3", "/opt/understudy/git_remote.py"]
