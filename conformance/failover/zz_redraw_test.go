package failover
import ("testing";"os")
func TestRedraw(t *testing.T){ dir:=os.Getenv("REDRAW"); if dir=="" {t.Skip()}
 if dir=="made" { if err:=Write("/tmp/made",madeUpEnvironment(),madeUp(30)); err!=nil {t.Fatal(err)}; return }
 e,s,err:=Load(dir); if err!=nil {t.Fatal(err)}
 if err:=Write(dir,e,Result{Samples:s}); err!=nil {t.Fatal(err)} }
