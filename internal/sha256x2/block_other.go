//go:build !amd64 || purego

package sha256x2

func supported() bool { return false }

func blocks(*[2][Size]byte, *byte, *byte, int) { panic("sha256x2: not supported here") }
