package golang

import (
	"context"
	"os"
)

// Expression is how an app would be served; nothing is linked.
func Expression(ctx context.Context, name string) (string, error) {
	expression, _, err := Expressions(ctx, name)
	return expression, err
}

// Expressions is Expression, and for other names of the same package as well.
func Expressions(ctx context.Context, name string) (expression string, other func(export string) (string, error), err error) {
	t, err := parse(name)
	if err != nil {
		return "", nil, err
	}
	chain, err := newToolchain()
	if err != nil {
		return "", nil, err
	}
	scratch, err := os.MkdirTemp("", "golang-test-")
	if err != nil {
		return "", nil, err
	}
	defer os.RemoveAll(scratch)
	j, err := prepare(ctx, chain, t, scratch, []string{"-buildvcs=false"})
	if err != nil {
		return "", nil, err
	}
	other = func(export string) (string, error) { return choose(j.pkg.ImportPath, export, j.exports()) }
	return j.expression, other, nil
}

// ExplainCache is what is said of an error of the cache's file system.
func ExplainCache(err error) error { return (&cache{}).explain(err) }
