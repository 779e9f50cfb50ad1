//go:build race

package database

const raced = true
