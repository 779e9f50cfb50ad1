package source

// AnswerOf is an answer that calls release when it is released.
func AnswerOf(peer string, bytes int, release func()) *Answer {
	return &Answer{Peer: peer, Bytes: bytes, release: release}
}
