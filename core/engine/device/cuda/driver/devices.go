//go:build clipcuda

package driver

// Listed is a device and whether Open takes it.
type Listed struct {
	Properties
	Why error // it cannot be used; nil when it can
}

// Devices is every device that the driver counts, without a context on any of them. Errors are Count's.
func Devices() ([]Listed, error) {
	n, err := Count()
	if err != nil {
		return nil, err
	}
	list := make([]Listed, n)
	for i := range list {
		p, err := propertiesOf(i)
		if err == nil {
			err = p.unfit()
		}
		list[i] = Listed{p, err}
	}
	return list, nil
}
