"""The style sheet and the script of the page; both stand in the file itself, and the page reads well without them."""

# The series are those of `drawing.COLORS`, lighter in the dark. Print takes the light colours: the dark ones are for
# screens alone.
STYLE = """\
:root{color-scheme:light dark;--paper:#ffffff;--ink:#222222;--muted:#555555;--axis:#bbbbbb;--grid:#e4e4e4;
--other:#c2c2c2;--card:#f5f6f7;--right:#00875f;--wrong:#d52c1e;--link:#005a9c;--series-1:#0072b2;--series-2:#d55e00;
--series-3:#009e73;--series-4:#cc79a7;--series-5:#e69f00;--series-6:#56b4e9;--width:72px}
@media screen and (prefers-color-scheme:dark){:root{--paper:#16181b;--ink:#e8e9ea;--muted:#a9adb2;--axis:#5b6067;
--grid:#303439;--other:#595e64;--card:#202327;--right:#2fc38f;--wrong:#ff7263;--link:#7cc0f5;--series-1:#4da8e0;
--series-2:#f0813a;--series-3:#2fc38f;--series-4:#dd9fc2;--series-5:#f0b429;--series-6:#8fd0f5}}
*{box-sizing:border-box}
html{scroll-behavior:smooth}
body{margin:0 auto;padding:1.5rem 1.25rem 4rem;max-width:70rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:.2rem 0 .4rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.8rem 0 .6rem;padding-top:.8rem;border-top:1px solid var(--grid)}
h3{font-size:1.02rem;margin:1.6rem 0 .2rem}
p{margin:.3rem 0 .8rem;max-width:46rem}
a{color:var(--link)}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin:.6rem 0 1rem}
.note{color:var(--muted);font-size:.9rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.7rem;margin:1.2rem 0;padding:0;
list-style:none}
.tiles li{background:var(--card);border-radius:.5rem;padding:.7rem .9rem}
.tiles b{display:block;font-size:1.7rem;line-height:1.2;font-variant-numeric:tabular-nums}
.tiles span{color:var(--muted);font-size:.86rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.2rem;margin:.8rem 0}
dt{color:var(--muted)}
dd{margin:0;overflow-wrap:anywhere}
.scroll{overflow-x:auto}
table{border-collapse:collapse;margin:.6rem 0 1rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.32rem 1rem .32rem 0;border-bottom:1px solid var(--grid);vertical-align:top}
td.number,th.number{text-align:right;white-space:nowrap}
thead th{color:var(--muted);font-weight:500;font-size:.86rem}
tbody th{font-weight:600;white-space:nowrap}
figure{margin:0}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem 1.5rem}
.plot{overflow-x:auto}
.plot svg{display:block;width:100%;height:auto;stroke-linejoin:round}
.plot figcaption{color:var(--muted);font-size:.9rem}
.query-row{display:grid;grid-template-columns:max-content 1fr;gap:.4rem 1.6rem;padding:.9rem 0;
border-bottom:1px solid var(--grid);break-inside:avoid}
.results{display:flex;flex-wrap:wrap;gap:.7rem .6rem;margin:0;padding:0;list-style:none}
.person{width:calc(var(--width) + 6px)}
.person img{display:block;width:100%;height:auto;border:3px solid var(--ink)}
.right img{border-color:var(--right)}
.wrong img{border-color:var(--wrong);border-style:dashed}
.person figcaption{font-size:.78rem;line-height:1.3;margin-top:.15rem;font-variant-numeric:tabular-nums}
.person i{font-style:normal;font-weight:700}
.right i{color:var(--right)}
.wrong i{color:var(--wrong)}
.rank{color:var(--muted)}
.query-row>.person{width:calc(var(--width) + 2.6rem)}
.query-row>.person img{width:calc(var(--width) + 6px)}
.legend{display:flex;flex-wrap:wrap;gap:.3rem 1.4rem;margin:.4rem 0 .6rem;font-size:.9rem;align-items:center}
.swatch{display:inline-block;width:1.6rem;height:.9rem;border:3px solid var(--right);vertical-align:-.1rem;
margin-right:.4rem}
.swatch.wrong{border-color:var(--wrong);border-style:dashed}
.swatch.bar{height:0;border-width:0 0 4px;vertical-align:.2rem}
.tool{display:flex;gap:.6rem;align-items:center;font-size:.9rem;color:var(--muted)}
.tool[hidden]{display:none}
.attention{border-bottom:1px solid var(--grid);padding:.9rem 0;break-inside:avoid}
.attention ul{display:flex;flex-wrap:wrap;gap:.8rem;margin:0;padding:0;list-style:none}
.attention figure{width:max-content}
.attention img,.attention svg{display:block;height:216px;width:auto;overflow:hidden}
.attention figcaption{font-size:.78rem;color:var(--muted)}
.attention p{font-size:.84rem;color:var(--muted);overflow-wrap:anywhere;margin:.3rem 0 0}
.scale{display:inline-block;width:7rem;height:.8rem;margin:0 .4rem;vertical-align:-.05rem}
dialog{border:0;padding:1rem;background:var(--card);color:var(--ink);max-width:96vw;border-radius:.5rem}
dialog img{display:block;height:min(70vh,560px);width:auto;max-width:100%;margin:0 auto .6rem}
dialog p{overflow-wrap:anywhere;margin:0}
dialog::backdrop{background:rgba(0,0,0,.6)}
@media (max-width:640px){body{padding:1rem .9rem 3rem}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}
.query-row{grid-template-columns:1fr}.query-row>.person{display:flex;gap:.8rem;width:auto}
tbody th,th.number{white-space:normal}td,th{padding-right:.7rem}.attention img,.attention svg{height:150px}}
@media print{:root{--width:42px!important}body{max-width:none;padding:0;font-size:10pt}
.query-row{gap:.3rem .8rem;padding:.5rem 0}.results{gap:.4rem .45rem}.person figcaption{font-size:.55rem}
.query-row>.person{width:calc(var(--width) + 1.6rem)}.attention img,.attention svg{height:130px}
.plots{grid-template-columns:1fr 1fr}
nav,.tool{display:none}h2,h3{break-after:avoid}
.plot{break-inside:avoid;overflow:visible}.plot svg{min-width:0!important}
a{color:inherit}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""

# The image size by a slider, and an image in large under a click: conveniences only.
SCRIPT = """\
for(const tool of document.querySelectorAll('.tool')){tool.hidden=false;
tool.querySelector('input').addEventListener('input',event=>{
document.documentElement.style.setProperty('--width',event.target.value+'px');
for(const other of document.querySelectorAll('.tool input'))other.value=event.target.value})}
const dialog=document.querySelector('dialog');
if(dialog&&dialog.showModal){document.addEventListener('click',event=>{
if(dialog.open){dialog.close();return}
const image=event.target.closest('figure img');
if(!image)return;
dialog.querySelector('img').src=image.src;
dialog.querySelector('img').alt=image.alt;
dialog.querySelector('p').textContent=image.title||image.alt;
dialog.showModal()})}
"""
