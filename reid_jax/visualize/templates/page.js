// The size of the images by a slider, and an image in large at a click; the page reads well without.
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
