package sdk

import "tandem/core/clip"

func serve(d clip.Descriptor, i instance) {}
