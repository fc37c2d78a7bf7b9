package devices

import "tandem/core/fault"

// GroupID returns what names a new group of GPUs, one for each of several processes, that add arrays up among themselves
// (device.Communicator). It is fault.Unavailable where the build has no CUDA or NCCL is missing.
func GroupID() ([]byte, error) {
	if cuda.group == nil {
		return nil, fault.New(fault.Unavailable, "this runner was built without CUDA").WithHint("%s", howToGetCUDA)
	}
	return cuda.group()
}
