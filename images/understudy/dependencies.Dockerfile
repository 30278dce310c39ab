# What the project's image needs besides the project: a layer that changes rarely, so that a change of the code is small.
# BASE: any Debian with Python 3.11. `python3 -m local images` lays out dependencies/ from requirements/runtime.txt.
ARG BASE
FROM $BASE
RUN python3 -m venv --without-pip /opt/understudy
COPY dependencies /opt/understudy/lib/python3.11/site-packages
# Nobody may write here at run time, and compiling everything at every start takes seconds.
RUN python3 -m compileall -q -j 2 --invalidation-mode unchecked-hash /opt/understudy/lib
ENV PATH=/opt/understudy/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1
ENTRYPOINT ["understudy"]
