//! The differences that stay.

use super::comparison::Permitted;

const TYPES: &str = "A field of the wrong type is rejected with the code and reason of a real server, but not its message.";
const STATUS: &str =
    "The status contains neither the resources granted by the node nor the user of a container.";

/// Each as it is on both nodes, with the sentence of `src/demo/lib.rs` that names it.
pub(super) const PERMITTED: [Permitted; 9] = [
    Permitted {
        line: "pod: keys of metadata",
        embedded: "creationTimestamp generation name namespace resourceVersion uid",
        real: "creationTimestamp generation managedFields name namespace resourceVersion uid",
        why: "Pods have no `managedFields`, because there is no server-side apply.",
    },
    Permitted {
        line: "pod: keys of spec",
        embedded: "automountServiceAccountToken containers dnsPolicy enableServiceLinks nodeName \
            preemptionPolicy priority restartPolicy schedulerName securityContext \
            terminationGracePeriodSeconds volumes",
        real: "automountServiceAccountToken containers dnsPolicy enableServiceLinks nodeName \
            preemptionPolicy priority restartPolicy schedulerName securityContext serviceAccount \
            serviceAccountName terminationGracePeriodSeconds tolerations volumes",
        why: "Admission adds neither a service account nor tolerations: there are no accounts.",
    },
    Permitted {
        line: "list: no more than one",
        embedded: "2, to be continued: false",
        real: "1, to be continued: true",
        why: "Every list is complete: `limit` is ignored.",
    },
    Permitted {
        line: "refused: a number for an image",
        embedded: "422 Invalid:  \"\" is invalid: patch: Invalid value: invalid type: integer `5`, \
            expected a string | -/- | FieldValueInvalid@patch",
        real: "422 Invalid:  \"\" is invalid: patch: Invalid value: \
            \"map[spec:map[ephemeralContainers:[map[command:[sh -c exit 0] image:5 \
            name:typed-1]]]]\": cannot convert int64 to string | -/- | FieldValueInvalid@patch",
        why: TYPES,
    },
    Permitted {
        line: "refused: text for a list",
        embedded: "422 Invalid:  \"\" is invalid: patch: Invalid value: invalid type: string \
            \"true\", expected a sequence | -/- | FieldValueInvalid@patch",
        real: "422 Invalid:  \"\" is invalid: patch: Invalid value: \
            \"map[spec:map[ephemeralContainers:[map[command:true image:IMAGE \
            name:typed-2]]]]\": cannot restore slice from string | -/- | FieldValueInvalid@patch",
        why: TYPES,
    },
    Permitted {
        line: "command: that is not there",
        embedded: "begun, then {details:{causes:[{message:\"126\",reason:\"ExitCode\"}]},\
            message:\"command terminated with non-zero exit code: command terminated with exit \
            code 126\",metadata:{},reason:\"NonZeroExitCode\",status:\"Failure\"}",
        real: "begun, then {code:500,details:{causes:[{message:\"Internal error occurred: error executing command in container: failed to exec in container: failed to start exec \\\"ID\\\": OCI runtime exec failed: exec failed: unable to start container process: exec: \\\"/does/not/exist\\\": stat /does/not/exist: no such file or directory\"}]},message:\"Internal error occurred: Internal error occurred: error executing command in container: failed to exec in container: failed to start exec \\\"ID\\\": OCI runtime exec failed: exec failed: unable to start container process: exec: \\\"/does/not/exist\\\": stat /does/not/exist: no such file or directory\",metadata:{},reason:\"InternalError\",status:\"Failure\"}",
        why: "A command that `exec` cannot start ends with exit code 126.",
    },
    Permitted {
        line: "status: its keys",
        embedded: "conditions containerStatuses ephemeralContainerStatuses hostIP hostIPs \
            observedGeneration phase podIP podIPs qosClass startTime",
        real: "allocatedResources conditions containerStatuses ephemeralContainerStatuses hostIP \
            hostIPs observedGeneration phase podIP podIPs qosClass resources startTime",
        why: STATUS,
    },
    Permitted {
        line: "status: keys of main",
        embedded: "containerID image imageID lastState name ready resources restartCount started \
            state volumeMounts",
        real: "allocatedResources containerID image imageID lastState name ready resources \
            restartCount started state user volumeMounts",
        why: STATUS,
    },
    Permitted {
        line: "status: keys of deaf",
        embedded: "containerID image imageID lastState name ready resources restartCount state",
        real: "containerID image imageID lastState name ready resources restartCount state user",
        why: STATUS,
    },
];
