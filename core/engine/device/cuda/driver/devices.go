//go:build clipcuda

package driver

// Listed describes a device and whether Open takes it.
type Listed struct {
	Properties
	Why error // it cannot be used; nil when it can
}

// Devices lists every device that the driver counts, without a context on any of them. Errors are those of Count.
func Devices() ([]Listed, error) {
	n, err := Count()
	if err != nil {
		return nil, err
	}
	list := make([]Listed, n)
	for i := range list {
		p, err := propertiesOf(i)
		if err == nil {
			err = p.whyUnfit()
		}
		list[i] = Listed{p, err}
	}
	return list, nil
}
