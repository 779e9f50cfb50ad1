// Package certs is how processes prove to each other who they are: it loads
// certificates, private keys and CA bundles, loads them again when their files
// change, makes TLS configurations of them, and says who a peer is and whether
// that one is allowed.
//
// It opens no connection and knows no protocol. Listeners and dialers get a
// *tls.Config once, and every handshake uses what is current then:
//
//	files --poll--> watched[keyPair], watched[bundle] --newest that was good--> ServerConfig, ClientConfig
//	                        |                                                        |
//	                 metrics, log: expiry, reloads, refused peers <------------------+-- chain, name or allow list
//
// Files are looked at by content, so it does not matter how they change: written
// in place, renamed, or by a link that points elsewhere, as Kubernetes does with
// secrets. Contents are judged once two looks in a row have found them the same,
// since a certificate and its key are rarely written at the same moment. What
// cannot be used changes nothing: the old material stays, that is said once, and
// every later look tries again.
//
// TLS 1.3 is the only version. Sessions are not resumed, so that every
// connection is checked against the CA bundle and the allow list of its own time.
// A connection that has begun is not checked again.
//
// The package also makes certificates, for development and tests (Authority).
package certs
