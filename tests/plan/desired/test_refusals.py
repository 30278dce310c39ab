"""Every mistake in a spec is refused in a sentence: where it is, what is wrong, and what to write instead."""

from typing import Any

from tests.plan.desired.specs import deployment, model, refuse

FLOOR = "; remove it, or have stories listed in the chart's privilegedNamespaces"
TEMPLATES: list[tuple[dict[str, Any], str]] = [
    ({"hostNetwork": True}, "hostNetwork: shares the node with the pod" + FLOOR),
    ({"hostPID": True}, "hostPID: shares the node with the pod" + FLOOR),
    ({"hostIPC": True}, "hostIPC: shares the node with the pod" + FLOOR),
    ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "volumes[0].hostPath: mounts the node's files" + FLOOR),
    (
        {"annotations": {"container.apparmor.security.beta.kubernetes.io/engine": "unconfined"}},
        "annotations[container.apparmor.security.beta.kubernetes.io/engine]: turns AppArmor off" + FLOOR,
    ),
    ({"securityContext": {"runAsUser": 0}}, "securityContext: runs as root" + FLOOR),
    ({"securityContext": {"runAsNonRoot": False}}, "securityContext: runs as root" + FLOOR),
    (
        {"securityContext": {"sysctls": [{"name": "a"}]}},
        "securityContext.sysctls: changes the node's kernel settings for the pod" + FLOOR,
    ),
    (
        {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
        "securityContext.seccompProfile: turns the kernel's filter off" + FLOOR,
    ),
    (
        {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
        "securityContext.appArmorProfile: turns the kernel's filter off" + FLOOR,
    ),
    (
        {"securityContext": {"seLinuxOptions": {"a": "b"}}},
        "securityContext.seLinuxOptions: changes the node's kernel settings for the pod" + FLOOR,
    ),
    (
        {"securityContext": {"windowsOptions": {"a": "b"}}},
        "securityContext.windowsOptions: changes the node's kernel settings for the pod" + FLOOR,
    ),
    (
        {"initContainers": [{"name": "a", "securityContext": {"privileged": True}}]},
        "initContainers[0].securityContext.privileged: gives the container more than its user has" + FLOOR,
    ),
    (
        {"initContainers": [{"name": "a", "securityContext": {"allowPrivilegeEscalation": True}}]},
        ("initContainers[0].securityContext.allowPrivilegeEscalation: gives the container more than its user has")
        + FLOOR,
    ),
    (
        {"initContainers": [{"name": "a", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]},
        "initContainers[0].securityContext.capabilities.add: adds kernel capabilities" + FLOOR,
    ),
    (
        {"initContainers": [{"name": "a", "securityContext": {"procMount": "Unmasked"}}]},
        ("initContainers[0].securityContext.procMount: changes the node's kernel settings for the pod") + FLOOR,
    ),
    (
        {"initContainers": [{"name": "a", "securityContext": {"runAsUser": 0}}]},
        "initContainers[0].securityContext: runs as root" + FLOOR,
    ),
    (
        {"initContainers": [{"name": "a", "securityContext": "x"}]},
        "initContainers[0].securityContext: is not an object" + FLOOR,
    ),
    (
        {"initContainers": [{"name": "a", "ports": [{"containerPort": 1}, {"hostPort": 80}]}]},
        "initContainers[0].ports[1].hostPort: takes a port of the node" + FLOOR,
    ),
    (
        {"labels": {"understudy.dev/revision": "x"}},
        "labels[understudy.dev/revision]: is Understudy's own; choose another key",
    ),
    (
        {"annotations": {"understudy.dev/x": "y"}},
        "annotations[understudy.dev/x]: is Understudy's own; choose another key",
    ),
    (
        {"labels": {"app.kubernetes.io/instance": "x"}},
        "labels[app.kubernetes.io/instance]: is Understudy's own; choose another key",
    ),
    (
        {"labels": {"app.kubernetes.io/name": "x"}},
        "labels[app.kubernetes.io/name]: is Understudy's own; choose another key",
    ),
    (
        {"labels": {"app.kubernetes.io/managed-by": "x"}},
        "labels[app.kubernetes.io/managed-by]: is Understudy's own; choose another key",
    ),
    (
        {"labels": {"app.kubernetes.io/component": "x"}},
        "labels[app.kubernetes.io/component]: is Understudy's own; choose another key",
    ),
    ({"labels": {"a": 1}}, "labels[a]: is 1; write a string, in quotes"),
    ({"labels": ["a"]}, "labels: is not an object; write keys and values"),
    ({"nodeSelector": {"a": True}}, "nodeSelector[a]: is True; write a string, in quotes"),
    ({"annotations": {"a": None}}, "annotations[a]: is None; write a string, in quotes"),
    ({"securityContext": "x"}, "securityContext: is not an object; write keys and values"),
    ({"dnsConfig": []}, "dnsConfig: is not an object; write keys and values"),
    (
        {"containers": {}},
        (
            "containers: is not for podTemplate; write spec.engine, spec.resources and "
            "podTemplate.volumeMounts; a sidecar is an init container with restartPolicy: Always"
        ),
    ),
    (
        {"enableServiceLinks": {}},
        ("enableServiceLinks: is not for podTemplate; remove it: a Service named vllm would break the engine"),
    ),
    ({"env": {}}, "env: is not for podTemplate; write spec.engine.env"),
    ({"image": {}}, "image: is not for podTemplate; write spec.engine.image"),
    ({"metadata": {}}, ("metadata: is not for podTemplate; write labels and annotations directly under podTemplate")),
    ({"resourceClaims": {}}, "resourceClaims: is not for podTemplate; write spec.accelerator.claimTemplateName"),
    ({"resources": {}}, "resources: is not for podTemplate; write spec.resources"),
    ({"restartPolicy": {}}, "restartPolicy: is not for podTemplate; remove it: pods of a Deployment always restart"),
    ({"spec": {}}, "spec: is not for podTemplate; write the pod's fields directly under podTemplate"),
    (
        {"nodeselector": {}},
        (
            "nodeselector: is not for podTemplate; write one of affinity, annotations, "
            "automountServiceAccountToken, dnsConfig, dnsPolicy, hostAliases, hostIPC, hostNetwork, "
            "hostPID, hostUsers, imagePullSecrets, initContainers, labels, nodeSelector, "
            "priorityClassName, runtimeClassName, schedulerName, securityContext, serviceAccountName, "
            "terminationGracePeriodSeconds, tolerations, topologySpreadConstraints, volumeMounts, "
            "volumes"
        ),
    ),
    ({"hostNetwork": "yes"}, "hostNetwork: is 'yes'; write true or false"),
    ({"terminationGracePeriodSeconds": True}, "terminationGracePeriodSeconds: is True; write a whole number"),
    ({"priorityClassName": 3}, "priorityClassName: is 3; write a string"),
    (
        {"terminationGracePeriodSeconds": 134},
        ("terminationGracePeriodSeconds: 134 s would cut open streams; write at least 135, or lower shutdownTimeout"),
    ),
    ({"tolerations": {}}, "tolerations: is not a list; write a list"),
    ({"tolerations": "all"}, "tolerations: is not a list; write a list"),
    ({"tolerations": ["all"]}, "tolerations[0]: is not an object; write keys and values"),
    ({"volumes": [{"emptyDir": {}}]}, "volumes[0]: has no name; write name"),
    ({"volumes": [{"name": ""}]}, "volumes[0]: has no name; write name"),
    ({"volumes": [{"name": "a"}, {"name": "a"}]}, "volumes[1].name: 'a' appears twice; remove one"),
    ({"volumeMounts": [{"name": "a"}]}, "volumeMounts[0]: has no mountPath; write mountPath"),
    ({"imagePullSecrets": [{"name": "a"}, {"name": 7}]}, "imagePullSecrets[1]: has no name; write name"),
    ({"affinity": {"nodeAffinity": [1]}}, "affinity.nodeAffinity: is not a node affinity; write it as in a pod's spec"),
    (
        {
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": "x"}]}
                }
            }
        },
        "affinity.nodeAffinity: is not a node affinity; write it as in a pod's spec",
    ),
]
ENGINES: list[tuple[dict[str, Any], str]] = [
    ({"image": None}, "image: is missing; write the engine's image, such as vllm/vllm-openai:v0.33.0"),
    (
        {"env": [{"name": "VLLM_API_KEY", "value": "x"}]},
        "env: sets VLLM_API_KEY; remove it: Understudy makes the engine's key",
    ),
    ({"startupTimeout": "soon"}, "startupTimeout: 'soon' is no duration; write one such as 90s or 1h30m"),
    ({"shutdownTimeout": "soon"}, "shutdownTimeout: 'soon' is no duration; write one such as 90s or 1h30m"),
    ({"args": ["--seed=1", "--model=x"]}, "args[1]: '--model=x' sets --model, which Understudy sets; write modelRef"),
    (
        {"args": ["--seed=1", "--served-model-name"]},
        ("args[1]: '--served-model-name' sets --served-model-name, which Understudy sets; write spec.servedNames"),
    ),
    ({"args": ["--seed=1", "--host=1"]}, "args[1]: '--host=1' sets --host, which Understudy sets; remove it"),
    ({"args": ["--seed=1", "--port"]}, "args[1]: '--port' sets --port, which Understudy sets; remove it"),
    ({"args": ["--seed=1", "--uds=/x"]}, "args[1]: '--uds=/x' sets --uds, which Understudy sets; remove it"),
    (
        {"args": ["--seed=1", "--root-path=/"]},
        "args[1]: '--root-path=/' sets --root-path, which Understudy sets; remove it",
    ),
    (
        {"args": ["--seed=1", "--api-key=x"]},
        (
            "args[1]: '--api-key=x' sets --api-key, which Understudy sets; remove it: Understudy "
            "makes the engine's key; clients use access keys of the gateway"
        ),
    ),
    (
        {"args": ["--seed=1", "--shutdown-timeout=1"]},
        (
            "args[1]: '--shutdown-timeout=1' sets --shutdown-timeout, which Understudy sets; write "
            "spec.engine.shutdownTimeout"
        ),
    ),
    (
        {"args": ["--seed=1", "--lora-modules"]},
        ("args[1]: '--lora-modules' sets --lora-modules, which Understudy sets; write spec.adapters in the Model"),
    ),
    (
        {"args": ["--seed=1", "--config=/x"]},
        (
            "args[1]: '--config=/x' sets --config, which Understudy sets; write the file's options as "
            "args: it could set any of Understudy's own"
        ),
    ),
    (
        {"args": ["--seed=1", "--ssl-keyfile=x"]},
        "args[1]: '--ssl-keyfile=x' sets --ssl-keyfile, which Understudy sets; write spec.engine.tls",
    ),
    (
        {"args": ["--seed=1", "--ssl-certfile=x"]},
        "args[1]: '--ssl-certfile=x' sets --ssl-certfile, which Understudy sets; write spec.engine.tls",
    ),
    ({"args": ["--seed=1", "-p9000"]}, "args[1]: '-p9000' is no option that may be set; remove it"),
    ({"args": ["--seed=1", "-m"]}, "args[1]: '-m' is no option that may be set; remove it"),
    (
        {"type": "sim", "args": ["--model-id=x"]},
        "args[0]: '--model-id=x' sets --model-id, which Understudy sets; remove it",
    ),
    (
        {"type": "sim", "args": ["--served-model-name=x"]},
        ("args[0]: '--served-model-name=x' sets --served-model-name, which Understudy sets; write spec.servedNames"),
    ),
    ({"type": "sim", "args": ["--root=/x"]}, "args[0]: '--root=/x' sets --root, which Understudy sets; write modelRef"),
    ({"type": "sim", "args": ["--host=x"]}, "args[0]: '--host=x' sets --host, which Understudy sets; remove it"),
    ({"type": "sim", "args": ["--port=1"]}, "args[0]: '--port=1' sets --port, which Understudy sets; remove it"),
    (
        {"type": "sim", "args": ["--set={}"]},
        ("args[0]: '--set={}' sets --set, which Understudy sets; send POST /admin/behaviour to the running engine"),
    ),
    (
        {"type": "sim", "args": ["--shutdown-timeout=1"]},
        (
            "args[0]: '--shutdown-timeout=1' sets --shutdown-timeout, which Understudy sets; write "
            "spec.engine.shutdownTimeout"
        ),
    ),
    (
        {"type": "sim", "args": ["--max-model-len=lots"]},
        "args: --max-model-len: 'lots' is not a number of tokens; write one, such as 8192",
    ),
    (
        {"args": ["--max-model-len=lots"]},
        "args: --max-model-len: 'lots' is not a number of tokens; write one, such as 8192",
    ),
    (
        {"env": [{"name": "a"}, {}]},
        ("env[1].name: Field required; see the schema: kubectl explain modeldeployment.spec.engine.env[1].name"),
    ),
]
MODELS: list[tuple[dict[str, Any], str]] = [
    (
        {"source": {"enginePath": "/a", "pvc": {"claimName": "c"}}},
        "source: names 2 places; write one of huggingFace, pvc, image, enginePath, s3",
    ),
    (
        {"adapters": [{"name": "a", "source": {"s3": {"uri": "s3://bucket/x"}}}]},
        ("adapters[0].source: vLLM loads no adapter from S3; write huggingFace, pvc, image or enginePath"),
    ),
    (
        {"adapters": [{"name": "a", "source": {}}]},
        "adapters[0].source: names 0 places; write one of huggingFace, pvc, image, enginePath, s3",
    ),
    (
        {"adapters": [{"name": "a"}]},
        ("adapters[0].source: Field required; see the schema: kubectl explain model.spec.adapters[0].source"),
    ),
]
OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"accelerator": {}}, "accelerator: names no hardware; write resource: nvidia.com/gpu, or claimTemplateName"),
    (
        {"accelerator": {"resource": "amd.com/gpu", "products": ["MI300X"]}},
        (
            "accelerator: products and minMemory are NVIDIA's node labels, and amd.com/gpu is not "
            "theirs; write your nodes' labels into podTemplate.nodeSelector"
        ),
    ),
    (
        {"accelerator": {"resource": "amd.com/gpu", "minMemory": "1Gi"}},
        (
            "accelerator: products and minMemory are NVIDIA's node labels, and amd.com/gpu is not "
            "theirs; write your nodes' labels into podTemplate.nodeSelector"
        ),
    ),
    (
        {"accelerator": {"resource": "nvidia.com/gpu", "minMemory": "much"}},
        (
            "accelerator.minMemory: 'much' is not a quantity: write a number such as 4, 500m or 16Gi; "
            "write a quantity such as 24Gi"
        ),
    ),
    (
        {"replicas": "many"},
        (
            "replicas: Input should be a valid integer, unable to parse string as an integer; see the "
            "schema: kubectl explain modeldeployment.spec.replicas"
        ),
    ),
]


def test_of_a_pod_template() -> None:
    said = [refuse(deployment(template)).message for template, _ in TEMPLATES]
    assert said == [f"spec.podTemplate.{sentence}" for _, sentence in TEMPLATES]


def test_of_an_engine() -> None:
    said = [refuse(deployment(engine=engine)).message for engine, _ in ENGINES]
    assert said == [f"spec.engine.{sentence}" for _, sentence in ENGINES]


def test_of_a_model() -> None:
    said = [refuse(deployment(), model(**spec)).message for spec, _ in MODELS]
    assert said == [f"Model spec.{sentence}" for _, sentence in MODELS]


def test_of_everything_else() -> None:
    said = [refuse(deployment(**spec)).message for spec, _ in OTHERS]
    assert said == [f"spec.{sentence}" for _, sentence in OTHERS]
