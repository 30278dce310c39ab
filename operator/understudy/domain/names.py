"""Every name, label and annotation that two processes must agree on, in one place.

The operator writes them, the gateway and the tests read them; a second spelling would be a bug.
"""

import hashlib
import hmac
from typing import Final

GROUP: Final = "understudy.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

# Labels on children; a child finds its parent by the first one within its namespace.
LABEL_DEPLOYMENT: Final = f"{GROUP}/deployment"
LABEL_REVISION: Final = f"{GROUP}/revision"
LABEL_ACCESS_KEY: Final = f"{GROUP}/access-key"
# On a ConfigMap: it holds a part of a Guardrail's policy.
LABEL_GUARD_SHARD: Final = f"{GROUP}/guard-shard"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
MANAGED_BY: Final = "understudy"

ANNOTATION_REQUEST: Final = f"{GROUP}/request"
ANNOTATION_APPLIED_HASH: Final = f"{GROUP}/applied-hash"
ANNOTATION_KEEP: Final = f"{GROUP}/keep"
# On a ConfigMap with a part of a policy: whose it is.
ANNOTATION_GUARDRAIL: Final = f"{GROUP}/guardrail"
# On a pool: the replicas that the operator wrote. Other ones are somebody else's doing.
ANNOTATION_REPLICAS: Final = f"{GROUP}/replicas"

# Field managers: one per concern, so that server-side apply shows who owns what.
MANAGER_CHILDREN: Final = "understudy"
MANAGER_STATUS: Final = "understudy-status"

ENGINE_PORT: Final = 8000
ENGINE_PORT_NAME: Final = "http"
ENGINE_TLS_PORT_NAME: Final = "https"
GATEWAY_DATA_PORT: Final = 8080
GATEWAY_ADMIN_PORT: Final = 9901
ADMIN_AUDIENCE: Final = "understudy"
MASTER_KEY_SECRET: Final = "understudy-engine-keys"  # noqa: S105 - the name of a Secret, not a secret
MASTER_KEY_FIELD: Final = "master"
# Says for which master key every key that does not follow from it lies beside it.
MASTER_KEY_STAMP: Final = "kept-for"
ENGINE_KEY_FIELD: Final = "api-key"
GUARD_SHARD_FIELD: Final = "policy"
GUARD_SHARD_PREFIX: Final = "understudy-guard-"
MAX_DEPLOYMENT_NAME: Final = 48


def child_name(deployment: str, revision: str) -> str:
    """Name of a revision's Deployment, Service and ModelSnapshot, and the model id its engine serves.

    `revision` is 8 hexadecimal digits; with a deployment name of at most 48 characters the result
    is a DNS label (at most 57 characters).
    """
    return f"{deployment}-{revision}"


def service_host(namespace: str, deployment: str, revision: str) -> str:
    """Name of a revision's Service in the cluster, which the certificate of its engines must have."""
    return f"{child_name(deployment, revision)}.{namespace}.svc"


def policy_name(deployment: str) -> str:
    """Name of the NetworkPolicy that lets only gateways and the operator reach the deployment's pods."""
    return f"{deployment}-gateways-only"


def guard_shard(guardrail: str, policy: str, number: int) -> str:
    """Name of the ConfigMap, immutable, that holds one part of a Guardrail's policy; parts are numbered from 0.

    Of name and hash together: two Guardrails may say the same, and what is in the parts has the name too.
    """
    digest = hashlib.sha256(f"{guardrail}/{policy}".encode()).hexdigest()
    return f"{GUARD_SHARD_PREFIX}{digest[:16]}-{number}"


def engine_key_secret(deployment: str, revision: str) -> str:
    """Name of the Secret, beside the pods, that holds the revision's engine API key."""
    return f"{child_name(deployment, revision)}-key"


def engine_key(master: bytes, namespace: str, deployment: str, revision: str) -> str:
    """API key of one revision's engine: 64 hexadecimal digits.

    HMAC-SHA256 under the installation's random master key, so that operator and gateway arrive at
    the same key without copying a Secret between namespaces.
    """
    message = f"{namespace}/{child_name(deployment, revision)}".encode()
    return hmac.new(master, message, hashlib.sha256).hexdigest()


def kept_key_field(namespace: str, deployment: str, revision: str) -> str:
    """Field of the master key's Secret for the key of a revision that was made under another master key."""
    return f"{namespace}.{child_name(deployment, revision)}"


def master_id(master: bytes) -> str:
    """What tells master keys apart without giving them away: 16 hexadecimal digits."""
    return hashlib.sha256(b"id:" + master).hexdigest()[:16]
