// Package linear checks that the write path is linearizable: clients write and
// read over HTTP, on few keys, against a live API on a real directory that is
// restarted in between, and porcupine looks for an order of their calls that
// explains every answer. It also checks that sizes and roots never go back.
package linear
