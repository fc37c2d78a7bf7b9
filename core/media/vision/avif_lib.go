//go:build libavif && cgo

package vision

import "tandem/core/media/vision/libavif"

func init() {
	avifVersion = "libavif " + libavif.Version()
	avif = func(data []byte, o Options) (Picture, error) {
		pix, info, err := libavif.Decode(data, func(i libavif.Info) error {
			if i.Depth > 8 { // Pillow's newer libavif rounds them otherwise
				return errNotRead("avif", "a sample of %d bits", i.Depth)
			}
			return o.check(i.W, i.H)
		})
		if err != nil {
			return Picture{}, err
		}
		if !info.Alpha {
			return Picture{W: info.W, H: info.H, Stride: 3 * info.W, Pix: pix}, nil
		}
		p := NewPicture(info.W, info.H)
		for i := range info.W * info.H {
			s := pix[4*i:][:4]
			o.blend(p.Pix[3*i:], s[0], s[1], s[2], s[3])
		}
		return p, nil
	}
}
