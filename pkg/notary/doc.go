// Package notary signs what a writer has published: the newest commit of a
// database becomes a checkpoint, a signed note that replicas follow instead of
// the word of whoever answers them.
//
//	DB.Changed ─► Notary.Run ─► Signer (key file, command) ─► note ─► Note: GET /v1/checkpoint
//	                 │                                         ▲
//	                 └── the same note to every witness ──► cosignatures
//
// Signing is beside writing and never in its way: the notary looks at what is
// published and signs the newest state, however many it has missed. A commit
// that stays the newest is signed again and again, so that an idle writer can be
// told from one that somebody keeps from being heard.
//
// It does not judge: how many signatures are enough, and whether a history
// continues another one, is for replicas and witnesses to say.
package notary
